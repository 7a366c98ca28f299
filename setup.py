"""What pyproject.toml cannot say: an installed package carries the workflow, under `workflow/`."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

WORKFLOW = ("Snakefile", "config.yaml", "rules", "scripts", "envs", "profiles", "configs")


class WithWorkflow(build_py):
    """Copies the workflow's files as they lie in the checkout, so that their paths hold."""

    def run(self):
        """Build, and put the workflow into it; an editable install reads the checkout."""
        super().run()
        if self.editable_mode:
            return
        for name in WORKFLOW:
            to = Path(self.build_lib, "realitycheck", "workflow", name)
            if Path(name).is_dir():
                shutil.copytree(
                    name, to, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(name, to)


setup(cmdclass={"build_py": WithWorkflow})

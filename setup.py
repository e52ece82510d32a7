"""Maps the top-level folders into the one namespace ``kfp_lifecycle``.

Everything else is in pyproject.toml; setuptools has no declarative form for "every package below these
folders, under another name", and a hand-kept list would forget the next component.
"""

from setuptools import find_packages, setup

FOLDERS = ("components", "pipelines", "compiler", "runner", "scripts")
DATA = ("compiled", "profiles")

packages = [f"kfp_lifecycle.{folder}" for folder in FOLDERS]
for folder in FOLDERS:
    packages += [f"kfp_lifecycle.{folder}.{name}" for name in find_packages(folder, exclude=["benchmarks*"])]

setup(
    packages=[*packages, *(f"kfp_lifecycle.{folder}" for folder in DATA)],
    package_dir={f"kfp_lifecycle.{folder}": folder for folder in (*FOLDERS, *DATA)},
    package_data={
        "kfp_lifecycle.compiled": ["**/*.yaml", "*.json"],
        "kfp_lifecycle.profiles": ["*.yaml"],
        "kfp_lifecycle.pipelines": ["params/*.yaml"],
        "kfp_lifecycle.compiler": ["templates/**/*.j2", "graph/fonts/*"],
        "": ["py.typed", "*.html", "*.css", "*.js"],
    },
)

"""Import plugins that a user names by a file: an experiment's, or one module."""

from pathlib import Path

from autosparse.errors import AutosparseError
from autosparse.experiment.files import find_file, read_content
from autosparse.plugins import load_plugins


def import_plugins(given: str) -> None:
    """Import the plugins of an experiment file, or the module in ``FILE.py``.

    :raises AutosparseError: if there is no such file, it names no plugins, or one cannot be imported.
    """
    path = Path(given)
    if path.suffix == ".py":
        if not path.is_file():
            raise AutosparseError(f"no module {given}")
        load_plugins([path.stem], str(path.absolute().parent))
        return
    file = find_file(given)
    modules = read_content(file).get("plugins")
    if not isinstance(modules, list) or not all(isinstance(name, str) for name in modules):
        raise AutosparseError(f"{file.name} names no plugins, such as `plugins: [my_module]`; or give my_module.py")
    load_plugins(modules, file.folder)

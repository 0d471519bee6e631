"""What a newcomer writes: the modules that the README shows, and a new experiment file with a few lines changed."""

from pages import README, blocks, unpack_readme

FILE = "mine.yaml"
CHANGES = {
    "# plugins: [my_module] ": "plugins: [my_data, my_method] ",
    "model: lenet-300-100 ": 'model: "my_model:tiny" ',
    "dataset: digits ": "dataset: mine ",
    "iterations: 10 ": "iterations: 2 ",
    "epochs: 10}": "epochs: 1}",
    "models: [lenet-300-100]": 'models: ["my_model:tiny", {name: "my_model:tiny", width: 8}]',
    "datasets: [digits]": "datasets: [mine]",
    "    - random\n": "    - smallest\n",
    "sparsities: [0.9, 0.95]": "sparsities: [0.5]",
    "seeds: [0, 1, 2]": "seeds: [0, 1]",
}
"""Lines of the template, and what becomes of them: the newcomer's own model, data and method, and tiny sizes."""


def write_modules(folder):
    """Write the README's ``my_*.py`` and the data that they read, but no experiment file."""
    unpack_readme(folder)
    for name in blocks(README, "yaml"):
        (folder / name).unlink()


def change(path, changes):
    """Replace texts of a file, each of which it must have."""
    text = path.read_text()
    for old, new in changes.items():
        assert old in text, f"{path.name} has no {old!r}"
        text = text.replace(old, new)
    path.write_text(text)

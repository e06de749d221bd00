"""Tries an installed wheel where there is nothing but what it asks for; scripts/wheels.sh runs it with the wheel."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

LICENCES = ("LICENSE", "NOTICE", "nlohmann/LICENSE.MIT", "nanobind/LICENSE", "robin_map/LICENSE")
NETWORK_ALONE = ("--set", "linear.enabled=false", "--set", "neighbors.enabled=false")
COMPILED_IN = {"nlohmann-json", "nanobind", "robin-map"}


def check_contents(wheel: Path) -> None:
    """Licences, bill of materials, and no library of others."""
    names = zipfile.ZipFile(wheel).namelist()
    licences = [name for name in names if ".dist-info/licenses/" in name]
    assert all(any(name.endswith(wanted) for name in licences) for wanted in LICENCES), licences
    libraries = [name for name in names if re.search(r"\.so(\.|$)", name)]
    assert {Path(name).name.split(".")[0] for name in libraries} == {"_core", "libsparsexmc"}, libraries
    (bill,) = [name for name in names if name.endswith(".dist-info/sboms/sparsexmc.cdx.json")]
    components = json.loads(zipfile.ZipFile(wheel).read(bill))["components"]
    assert {part["name"] for part in components} - {"cudart_static"} == COMPILED_IN, components
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, {len(names)} files; compiled in:")
    print("  " + ", ".join(f"{part['name']} {part.get('version', '')}".strip() for part in components))


def run(*arguments: str) -> None:
    """The installed command."""
    subprocess.run([str(Path(sys.executable).with_name("sparsexmc")), *arguments], check=True)


def check_use() -> None:
    """doctor; the README's first job on the command line and in Python; what was saved predicts the same."""
    missing = [name for name in ("torch", "sklearn", "matplotlib", "jax") if importlib.util.find_spec(name)]
    assert not missing, f"this environment is not empty: {missing}"
    run("doctor")
    import numpy as np

    import sparsexmc as sx

    demo = sx.data.load_demo(counts=True)
    with tempfile.TemporaryDirectory() as folder:
        # The command with the network alone, since the other parts take minutes; Python with all parts on fewer rows.
        run("train", "--demo", "-o", f"{folder}/network", "--epochs", "1", "--no-progress", *NETWORK_ALONE)
        some = sx.data.Dataset(demo.X[:2000], demo.Y[:2000])
        sx.train(some, output=f"{folder}/whole", epochs=1, progress=False)
        for name in ("network", "whole"):
            model = sx.load(f"{folder}/{name}")
            before = model.topk(demo.X_test[:100], k=5)
            model.save(f"{folder}/again-{name}")
            after = sx.load(f"{folder}/again-{name}").topk(demo.X_test[:100], k=5)
            for one, other in zip(before, after, strict=True):
                np.testing.assert_array_equal(one, other)
    loaded = Path("/proc/self/maps").read_text()
    assert not re.search(r"lib(g|i|)omp\b|libtorch", loaded), "an OpenMP runtime or PyTorch was loaded"


check_contents(Path(sys.argv[1]))
check_use()
print("passed")

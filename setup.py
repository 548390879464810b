"""The detector's kernels in C; all else is in setup.cfg. Without a compiler they are left out."""

from pathlib import Path

from setuptools import Extension, setup

FOLDER = Path("pipeline/detection/mtcnn/native")

setup(
    ext_modules=[
        Extension(
            "facestream.pipeline.detection.mtcnn._kernels",
            sources=[str(FOLDER / "module.c")],
            depends=[str(path) for path in sorted(FOLDER.glob("*.h"))],
            define_macros=[("Py_LIMITED_API", "0x030B0000")],
            # Suppression and sampling are equal to numpy's to the bit: no contraction.
            extra_compile_args=[
                *("-O3", "-std=gnu11", "-Wall", "-Wextra", "-ffp-contract=off"),
                *("-fno-math-errno", "-fno-trapping-math"),
            ],
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)

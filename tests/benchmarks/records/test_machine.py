"""Versions of what lies below the libraries."""

import platform

import pytest
import torch

from itm_harness.benchmarks.records import machine
from itm_harness.benchmarks.records.machine import blas, driver, operating_system, system_versions

MKL = """PyTorch built with:
  - GCC 13.3
  - Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build 20240605 for Intel(R) 64 architecture
  - Build settings: BLAS_INFO=mkl, BUILD_TYPE=Release"""
NVRM = """NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024
GCC version:  gcc version 12.2.0"""


@pytest.mark.parametrize(
    ("configuration", "told"),
    [(MKL, "mkl 2024.2"), ("Build settings: BLAS_INFO=open, LAPACK_INFO=open", "open"), ("", "unknown")],
)
def test_the_matrix_library_of_a_build(configuration, told):
    assert blas(configuration) == told


@pytest.mark.parametrize(
    ("release", "libc", "told"),
    [
        ("6.1.0-18-acme-amd64", ("glibc", "2.36"), "Linux 6.1.0, glibc 2.36"),
        ("23.4.0", ("", ""), "Linux 23.4.0"),
        ("custom", ("", ""), "Linux"),
    ],
)
def test_the_operating_system_names_nobody(monkeypatch, release, libc, told):
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "release", lambda: release)
    monkeypatch.setattr(platform, "libc_ver", lambda: libc)
    assert operating_system() == told


def test_the_driver_is_that_of_the_kernel_module(tmp_path, monkeypatch):
    (tmp_path / "version").write_text(NVRM)
    assert driver(tmp_path / "version") == "550.54.15"
    assert driver(tmp_path / "none") == "unknown"


def test_a_cpu_needs_no_cuda(monkeypatch):
    found = system_versions(torch.device("cpu"))
    assert set(found) == {"os", "blas"}
    assert platform.node() not in found["os"]
    monkeypatch.setattr(machine, "driver", lambda: "550.1")
    assert system_versions(torch.device("cuda"))["driver"] == "550.1"

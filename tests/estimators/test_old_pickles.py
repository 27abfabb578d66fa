"""Pickles of skebm 0.1.0 are refused with a message that names both versions."""

import base64
import pickle
import subprocess
import sys
from importlib.metadata import version

import pytest

import skebm

#: What 0.1.0 made of estimators by their defaults, in protocol 4.
PICKLES = {
    "BernoulliRBM": (
        "gASVgwEAAAAAAACMFXNrZWJtLl9yYm0uX2Jlcm5vdWxsaZSMDEJlcm5vdWxsaVJCTZSTlCmBlH2U"
        "KIwMbl9jb21wb25lbnRzlE0AAYwNbGVhcm5pbmdfcmF0ZZRHP7mZmZmZmZqMCmJhdGNoX3NpemWU"
        "SwqMBm5faXRlcpRLCowHdmVyYm9zZZRLAIwMcmFuZG9tX3N0YXRllE6MBm1ldGhvZJSMA3BjZJSM"
        "DW5fZ2liYnNfc3RlcHOUSwGMCG5fY2hhaW5zlE6MCG1vbWVudHVtlEc/4AAAAAAAAIwMd2VpZ2h0"
        "X2RlY2F5lEcAAAAAAAAAAIwIY2VudGVyZWSUiIwWbGVhcm5pbmdfcmF0ZV9zY2hlZHVsZZSMBmxp"
        "bmVhcpSMEHdlaWdodF9hdmVyYWdpbmeURz/vrhR64UeujApub3JtYWxpemVylIwEYXV0b5SMC2No"
        "ZWNrX3JhbmdllIwEd2FybpSMDWNvbnRhbWluYXRpb26URz+pmZmZmZmajAZkZXZpY2WUaBZ1Yi4="
    ),
    "DeepBeliefNetwork": (
        "gASVAwEAAAAAAACMF3NrZWJtLl9yYm0uX2RlZXBfYmVsaWVmlIwRRGVlcEJlbGllZk5ldHdvcmuU"
        "k5QpgZR9lCiMEmhpZGRlbl9sYXllcl9zaXplc5RNAAFNAAGGlIwNbGVhcm5pbmdfcmF0ZZRHP7mZ"
        "mZmZmZqMCmJhdGNoX3NpemWUSwqMBm5faXRlcpRLCowSbl9maW5lX3R1bmluZ19pdGVylEsAjBBm"
        "aW5lX3R1bmluZ19yYXRllEc/hHrhR64Ue4wHbl9kcmF3c5RLZIwKbm9ybWFsaXplcpSMBGF1dG+U"
        "jAZkZXZpY2WUaA6MB3ZlcmJvc2WUSwCMDHJhbmRvbV9zdGF0ZZROdWIu"
    ),
    "EBMDensityEstimator": (
        "gASV1wEAAAAAAACMDnNrZWJtLl9kZW5zaXR5lIwTRUJNRGVuc2l0eUVzdGltYXRvcpSTlCmBlH2U"
        "KIwJb2JqZWN0aXZllIwOc3RyYXRpZmllZF9uY2WUjAduZXR3b3JrlIwEYXV0b5SMCXJlZmVyZW5j"
        "ZZRoCIwKbm9ybWFsaXplcpRoCIwUY2F0ZWdvcmljYWxfZmVhdHVyZXOUjApmcm9tX2R0eXBllIwF"
        "YXRvbXOUTowIbWF4X2l0ZXKUaAiMCmJhdGNoX3NpemWUS2SMDGJhdGNoX2dyb3d0aJRHP/AAAAAA"
        "AACMDWxlYXJuaW5nX3JhdGWUaAiMDWdyYWRpZW50X2NsaXCUTowQd2VpZ2h0X2F2ZXJhZ2luZ5RH"
        "P++uFHrhR66MDmVhcmx5X3N0b3BwaW5nlIiME3ZhbGlkYXRpb25fZnJhY3Rpb26URz+5mZmZmZma"
        "jBBuX2l0ZXJfbm9fY2hhbmdllGgIjAN0b2yURwAAAAAAAAAAjA1jb250YW1pbmF0aW9ulEc/qZmZ"
        "mZmZmowJb29kX3Njb3JllIwIY29tYmluZWSUjAp3YXJtX3N0YXJ0lImMBmRldmljZZRoCIwMcmFu"
        "ZG9tX3N0YXRllE6MB3ZlcmJvc2WUSwB1Yi4="
    ),
    "GaussianRBM": (
        "gASVgwEAAAAAAACMFHNrZWJtLl9yYm0uX2dhdXNzaWFulIwLR2F1c3NpYW5SQk2Uk5QpgZR9lCiM"
        "DG5fY29tcG9uZW50c5RLEIwNbGVhcm5pbmdfcmF0ZZRHP6mZmZmZmZqMCmJhdGNoX3NpemWUSxmM"
        "Bm5faXRlcpRLyIwHdmVyYm9zZZRLAIwMcmFuZG9tX3N0YXRllE6MBndoaXRlbpSIjAh2YXJpYW5j"
        "ZZSMB2xlYXJuZWSUjAZtZXRob2SUjANwY2SUjA1uX2dpYmJzX3N0ZXBzlEsBjAhuX2NoYWluc5RL"
        "ZIwIbW9tZW50dW2URz/mZmZmZmZmjAx3ZWlnaHRfZGVjYXmUTowIY2VudGVyZWSUiIwWbGVhcm5p"
        "bmdfcmF0ZV9zY2hlZHVsZZSMBmxpbmVhcpSMEHdlaWdodF9hdmVyYWdpbmeURz/vrhR64UeujApu"
        "b3JtYWxpemVylIwEYXV0b5SMDWNvbnRhbWluYXRpb26URz+pmZmZmZmajAZkZXZpY2WUaBl1Yi4="
    ),
    "JEMClassifier": (
        "gASVewIAAAAAAACMEXNrZWJtLl9jbGFzc2lmaWVylIwNSkVNQ2xhc3NpZmllcpSTlCmBlH2UKIwJ"
        "b2JqZWN0aXZllIwDbmNllIwHbmV0d29ya5SMDGVuc2VtYmxlX21scJSMCXJlZmVyZW5jZZSMA2dt"
        "bZSMCm5vcm1hbGl6ZXKUjARhdXRvlIwVY2xhc3NpZmljYXRpb25fd2VpZ2h0lEdAJAAAAAAAAIwM"
        "Z3JhcGhfd2VpZ2h0lGgMjBlwcmVkaWN0aW9uX2VudHJvcHlfd2VpZ2h0lEdACAAAAAAAAIwKdmF0"
        "X3dlaWdodJRHQCQAAAAAAACMCnZhdF9yYWRpdXOUaAyMDmJhbGFuY2Vfd2VpZ2h0lEdAJAAAAAAA"
        "AIwIc3RhY2tpbmeUiIwMY2xhc3Nfd2VpZ2h0lE6MCXVubGFiZWxlZJRK/////4wIbWF4X2l0ZXKU"
        "aAyMCmJhdGNoX3NpemWUTYABjAxiYXRjaF9ncm93dGiURz/wAAAAAAAAjA1sZWFybmluZ19yYXRl"
        "lEc/YGJN0vGp/IwNZ3JhZGllbnRfY2xpcJROjBB3ZWlnaHRfYXZlcmFnaW5nlEc/71wo9cKPXIwO"
        "ZWFybHlfc3RvcHBpbmeUiYwTdmFsaWRhdGlvbl9mcmFjdGlvbpRHP7mZmZmZmZqMEG5faXRlcl9u"
        "b19jaGFuZ2WUSzKMA3RvbJRHAAAAAAAAAACMDWNvbnRhbWluYXRpb26URz+pmZmZmZmajAlvb2Rf"
        "c2NvcmWUjAtsb2dfZGVuc2l0eZSMCndhcm1fc3RhcnSUiYwGZGV2aWNllGgMjAxyYW5kb21fc3Rh"
        "dGWUTowHdmVyYm9zZZRLAHViLg=="
    ),
    "RBMClassifier": (
        "gASVzwEAAAAAAACMFnNrZWJtLl9yYm0uX2NsYXNzaWZpZXKUjA1SQk1DbGFzc2lmaWVylJOUKYGU"
        "fZQojAxuX2NvbXBvbmVudHOUTQABjAlvYmplY3RpdmWUjAZoeWJyaWSUjAVhbHBoYZRHP7mZmZmZ"
        "mZqMEHVubGFiZWxlZF93ZWlnaHSURz/wAAAAAAAAjAxjbGFzc193ZWlnaHSUTowJdW5sYWJlbGVk"
        "lEr/////jA1sZWFybmluZ19yYXRllEc/4AAAAAAAAIwKYmF0Y2hfc2l6ZZRLMowGbl9pdGVylIwE"
        "YXV0b5SMBm1ldGhvZJSMA3BjZJSMDW5fZ2liYnNfc3RlcHOUSwGMCG5fY2hhaW5zlE6MCG1vbWVu"
        "dHVtlEc/5mZmZmZmZowMd2VpZ2h0X2RlY2F5lEcAAAAAAAAAAIwIY2VudGVyZWSUiIwWbGVhcm5p"
        "bmdfcmF0ZV9zY2hlZHVsZZSMBmxpbmVhcpSMEHdlaWdodF9hdmVyYWdpbmeURz/vrhR64UeujApu"
        "b3JtYWxpemVylGgPjAtjaGVja19yYW5nZZSMBHdhcm6UjAZkZXZpY2WUaA+MB3ZlcmJvc2WUSwCM"
        "DHJhbmRvbV9zdGF0ZZROdWIu"
    ),
    "SoftmaxRBM": (
        "gASVkgEAAAAAAACME3NrZWJtLl9yYm0uX3NvZnRtYXiUjApTb2Z0bWF4UkJNlJOUKYGUfZQojAxu"
        "X2NvbXBvbmVudHOUS0CMDWxlYXJuaW5nX3JhdGWURz+5mZmZmZmajApiYXRjaF9zaXpllEsZjAZu"
        "X2l0ZXKUSzKMB3ZlcmJvc2WUSwCMDHJhbmRvbV9zdGF0ZZROjApjYXRlZ29yaWVzlIwEYXV0b5SM"
        "DmhhbmRsZV91bmtub3dulIwFZXJyb3KUjAZtZXRob2SUjANwY2SUjA1uX2dpYmJzX3N0ZXBzlEsB"
        "jAhuX2NoYWluc5RLZIwIbW9tZW50dW2URz/mZmZmZmZmjAx3ZWlnaHRfZGVjYXmURwAAAAAAAAAA"
        "jAhjZW50ZXJlZJSIjBZsZWFybmluZ19yYXRlX3NjaGVkdWxllIwGbGluZWFylIwQd2VpZ2h0X2F2"
        "ZXJhZ2luZ5RHP++uFHrhR66MCm5vcm1hbGl6ZXKUaAyMDWNvbnRhbWluYXRpb26URz+pmZmZmZma"
        "jAZkZXZpY2WUaAx1Yi4="
    ),
}


@pytest.mark.parametrize("name", PICKLES)
def test_a_pickle_of_0_1_0_is_refused(name):
    stored = base64.b64decode(PICKLES[name])
    both = rf"This {name} was stored by skebm 0\.1\.0.* skebm {version('skebm')} can't"
    with pytest.raises(ValueError, match=both):
        pickle.loads(stored)


def test_every_estimator_of_0_1_0_is_known():
    assert PICKLES.keys() <= set(skebm.__all__)


def test_it_is_refused_in_a_process_that_has_not_imported_skebm():
    code = "import pickle, sys; pickle.load(sys.stdin.buffer)"
    stored = base64.b64decode(PICKLES["EBMDensityEstimator"])
    done = subprocess.run(
        [sys.executable, "-c", code], input=stored, capture_output=True
    )
    assert b"stored by skebm 0.1.0" in done.stderr


def test_old_modules_have_nothing_else():
    with pytest.raises(AttributeError, match=r"skebm\._density"):
        sys.modules["skebm._density"].BaseEBM  # noqa: B018

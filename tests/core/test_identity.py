"""The identity of a model survives both of its forms, and releases beside each other read what they know of it."""

import json

from slimrank.identity import ModelIdentity
from slimrank.manifest import Calibration

WHOLE = ModelIdentity("m", Calibration(scale=0.5, offset=-1.25), 0.75, "a" * 64, "b" * 64)
FORMS = [(ModelIdentity.message, ModelIdentity.from_message), (ModelIdentity.meta, ModelIdentity.from_meta)]


def test_an_identity_is_read_as_it_was_written() -> None:
    for write, read in FORMS:
        for identity in (WHOLE, ModelIdentity("plain")):
            assert read(json.loads(json.dumps(write(identity)))) == identity


def test_the_form_in_messages_is_the_one_that_older_gateways_read() -> None:
    assert WHOLE.message() == {
        "model": "m", "scale": 0.5, "offset": -1.25, "fusion_weight": 0.75, "model_sha256": "a" * 64, "prompt_sha256": "b" * 64
    }  # fmt: skip


def test_what_an_older_worker_or_another_server_leaves_out_has_its_default() -> None:
    assert ModelIdentity.from_message({"model": "m", "scale": 1.0, "offset": 0.0, "from_a_newer_release": 1}) == ModelIdentity(
        "m"
    )
    assert ModelIdentity.from_meta({"model": "m", "tokens": 3}) == ModelIdentity("m")
    assert ModelIdentity.from_meta({}).hashes() == {}

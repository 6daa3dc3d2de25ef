"""Compares tollway-core's macaroons with pymacaroons, an independent implementation.

Run from anywhere, after
    python3 -m venv .tools/venv && .tools/venv/bin/pip install pymacaroons==0.13.0
as
    .tools/venv/bin/python tests/differential/pymacaroons_test.py

Tokens go both ways: minted, narrowed and verified, each side with the other's bytes. The seed is
printed; TOLLWAY_SEED repeats a run. A missing package or a missing cargo is a failure, never a
skip.

pymacaroons writes an empty location as an empty field, which we refuse (one token, one
encoding), so every location here has at least one character, as every token of ours has.
"""

import json
import os
import pathlib
import random
import subprocess
import unittest
from importlib.metadata import version

from pymacaroons import MACAROON_V2, Macaroon, Verifier
from pymacaroons.exceptions import MacaroonInvalidSignatureException
from pymacaroons.serializers import BinarySerializer

PYMACAROONS = "0.13.0"
TOKENS = 300
ROOT = pathlib.Path(__file__).resolve().parents[2]
SEED = int(os.environ.get("TOLLWAY_SEED") or random.SystemRandom().randrange(2**32))


def tollway(requests):
    """The answers of the crate's example to these requests, in order."""
    command = ["cargo", "run", "--quiet", "-p", "tollway-core", "--example", "macaroon_json"]
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    done = subprocess.run(
        command, cwd=ROOT, input=lines, capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} failed:\n{done.stderr}")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if len(answers) != len(requests):
        raise AssertionError(f"expected {len(requests)} answers, but found {len(answers)}")
    return answers


def random_text(rng, most):
    alphabet = "abcXYZ019 =:,<>/_-.\"\\\u00e9\u20ac\U0001f600\x00\n"
    return "".join(rng.choice(alphabet) for _ in range(rng.randint(1, most)))


def random_token(rng):
    """The parts of a token; every fourth one is long enough for lengths of two bytes."""
    most = 400 if rng.random() < 0.25 else 40
    return {
        "root_key": rng.randbytes(32),
        "location": random_text(rng, 40),
        "identifier": rng.randbytes(rng.choice([1, 66, 127, 128, rng.randint(1, most)])),
        "caveats": [random_text(rng, most).encode() for _ in range(rng.randint(0, 6))],
    }


def to_request(op, **members):
    def encoded(value):
        if isinstance(value, list):
            return [encoded(item) for item in value]
        return value.hex() if isinstance(value, bytes) else value

    return {"op": op, **{name: encoded(value) for name, value in members.items()}}


def mint_there(parts):
    token = Macaroon(
        location=parts["location"],
        identifier=parts["identifier"],
        key=parts["root_key"],
        version=MACAROON_V2,
    )
    return narrow_there(token, parts["caveats"])


def narrow_there(token, caveats):
    for caveat in caveats:
        token.add_first_party_caveat(caveat.decode())
    return token


def read_there(token_hex):
    return BinarySerializer().deserialize_raw(bytes.fromhex(token_hex))


def bytes_there(token):
    return BinarySerializer().serialize_raw(token)


def genuine_there(token, root_key):
    verifier = Verifier()
    verifier.satisfy_general(lambda caveat: True)
    try:
        return verifier.verify(token, root_key)
    except MacaroonInvalidSignatureException:
        return False


class Pymacaroons(unittest.TestCase):
    def setUp(self):
        self.rng = random.Random(f"{SEED} {self.id()}")
        self.tokens = [random_token(self.rng) for _ in range(TOKENS)]

    def assert_same(self, there, here, parts):
        self.assertNotIn("error", here)
        self.assertEqual(bytes_there(there).hex(), here["token"])
        self.assertEqual(there.signature, here["signature"])
        self.assertEqual(there.location, here["location"])
        self.assertEqual(there.identifier_bytes.hex(), here["identifier"])
        self.assertEqual([c.caveat_id_bytes.hex() for c in there.caveats], here["caveats"])
        self.assertEqual([caveat.hex() for caveat in parts["caveats"]], here["caveats"])

    def test_it_is_the_pinned_package(self):
        self.assertEqual(version("pymacaroons"), PYMACAROONS)

    def test_minted_here_verifies_there(self):
        minted = tollway([to_request("mint", **parts) for parts in self.tokens])
        for parts, here in zip(self.tokens, minted, strict=True):
            there = read_there(here["token"])
            self.assert_same(there, here, parts)
            self.assertTrue(genuine_there(there, parts["root_key"]))
            self.assertFalse(genuine_there(there, self.rng.randbytes(32)))

    def test_minted_there_verifies_here(self):
        minted = [mint_there(parts) for parts in self.tokens]
        for right_key in (True, False):
            requests = []
            for parts, there in zip(self.tokens, minted, strict=True):
                key = parts["root_key"] if right_key else self.rng.randbytes(32)
                requests.append(to_request("verify", token=bytes_there(there), root_key=key))
            answers = tollway(requests)
            for parts, there, here in zip(self.tokens, minted, answers, strict=True):
                self.assert_same(there, here, parts)
                self.assertIs(here["genuine"], right_key)

    def test_minted_here_narrowed_there_verifies_here(self):
        minted = tollway([to_request("mint", **parts) for parts in self.tokens])
        narrowed = []
        for parts, here in zip(self.tokens, minted, strict=True):
            more = random_token(self.rng)["caveats"]
            parts["caveats"] = parts["caveats"] + more
            narrowed.append(narrow_there(read_there(here["token"]), more))
        answers = tollway([
            to_request("verify", token=bytes_there(there), root_key=parts["root_key"])
            for parts, there in zip(self.tokens, narrowed, strict=True)
        ])
        for parts, there, here in zip(self.tokens, narrowed, answers, strict=True):
            self.assert_same(there, here, parts)
            self.assertIs(here["genuine"], True)

    def test_minted_there_narrowed_here_verifies_there(self):
        requests = []
        for parts in self.tokens:
            more = random_token(self.rng)["caveats"]
            token = bytes_there(mint_there(parts))
            requests.append(to_request("attenuate", token=token, caveats=more))
            parts["caveats"] = parts["caveats"] + more
        for parts, here in zip(self.tokens, tollway(requests), strict=True):
            there = read_there(here["token"])
            self.assert_same(there, here, parts)
            self.assertTrue(genuine_there(there, parts["root_key"]))

    def test_a_flipped_bit_is_genuine_on_neither_side(self):
        requests = []
        for parts in self.tokens:
            token = bytearray(bytes_there(mint_there(parts)))
            # From the end backwards: the signature and some caveats, never the location.
            at = len(token) - 1 - self.rng.randrange(32 + sum(map(len, parts["caveats"])))
            token[at] ^= 1 << self.rng.randrange(8)
            requests.append(to_request("verify", token=bytes(token), root_key=parts["root_key"]))
        for parts, request, here in zip(self.tokens, requests, tollway(requests), strict=True):
            self.assertFalse(here.get("genuine", False))
            try:
                there = read_there(request["token"])
                self.assertFalse(genuine_there(there, parts["root_key"]))
            except AssertionError:
                raise
            except Exception:  # Its decoder raises many types; all of them refuse.
                pass


if __name__ == "__main__":
    print(f"TOLLWAY_SEED={SEED}: {TOKENS} random tokens per direction")
    unittest.main()

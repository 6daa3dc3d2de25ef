"""Compares tollway-core's reading and minting of other paywalls' tokens with their packages.

Run from anywhere, after `make setup`, as
    .tools/venv/bin/python tests/differential/legacy_tokens_test.py

lightning-toll comes from PyPI, toll-booth from crates.io: a small program around it stands in
bench/peers. Tokens go both ways, minted with random arguments and narrowed by a holder. The seed
is printed; TOLLWAY_SEED repeats a run. A missing package or a missing cargo is a failure, never a
skip.

Where both must agree, they are compared; where we are stricter (docs/compatibility.md), we must
refuse.
"""

import base64
import hashlib
import hmac
import json
import os
import pathlib
import random
import subprocess
import time
import unittest
from importlib.metadata import version

from lightning_toll import (
    create_macaroon,
    decode_macaroon,
    parse_authorization,
    verify_macaroon,
    verify_preimage,
)

LIGHTNING_TOLL = "0.1.1"
TOKENS = 300
ROOT = pathlib.Path(__file__).resolve().parents[2]
SEED = int(os.environ.get("TOLLWAY_SEED") or random.SystemRandom().randrange(2**32))
NOW = int(time.time())
TARGET = os.environ.get("CARGO_TARGET_DIR") or "target"
PEER = ["--manifest-path", "bench/peers/toll-booth/Cargo.toml", "--target-dir", f"{TARGET}/peers"]

EXPIRES = ["2001-01-01T00:00:00Z", "2999-01-01T00:00:00+01:00", "2999-13-01"]


def ask(arguments, requests):
    """The answers of a program to these requests, in order."""
    command = ["cargo", "run", "--quiet", "--locked", *arguments]
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    done = subprocess.run(
        command, cwd=ROOT, input=lines, capture_output=True, text=True, timeout=900, check=False
    )
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} failed:\n{done.stderr}")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if len(answers) != len(requests):
        raise AssertionError(f"expected {len(requests)} answers, but found {len(answers)}")
    for answer in answers:
        if "error" in answer:
            raise AssertionError(answer["error"])
    return answers


def tollway(requests):
    return ask(["-p", "tollway-core", "--example", "legacy_json"], requests)


def toll_booth(requests):
    return ask([*PEER, "--bin", "tokens"], requests)


def random_text(rng, most):
    alphabet = "abcXYZ019 =:,<>/_-.\"\\\u00e9\u20ac\U0001f600\x01\x7f\n\t"
    return "".join(rng.choice(alphabet) for _ in range(rng.randint(1, most)))


class Case:
    """A payment, a secret and what a token is bound to."""

    def __init__(self, rng):
        self.preimage = rng.randbytes(32).hex()
        self.id = hashlib.sha256(bytes.fromhex(self.preimage)).hexdigest()
        self.secret = random_text(rng, rng.choice([1, 40, 64, 65, 100]))
        self.root_key = rng.randbytes(32).hex()
        self.token_id = rng.randbytes(32).hex()
        self.credit = rng.choice([0, 1, 1000, rng.randrange(2**40)])
        self.expires_at = rng.choice([0, NOW - 1000, NOW + 1000, 2**53])
        self.endpoint = rng.choice(["", "/api/joke", "/" + random_text(rng, 60).strip()])
        self.method = rng.choice(["", "GET", "post"])
        self.ip = rng.choice(["", "203.0.113.7", "2001:db8::1"])
        # What a request asks, mostly what the token allows.
        other = rng.random() < 0.3
        self.context = {
            "endpoint": "/elsewhere" if other else self.endpoint or "/any",
            "method": rng.choice(["GET", "POST"]),
            "ip": rng.choice([self.ip or "192.0.2.1", "192.0.2.2"]),
        }

    def mint(self, form):
        request = {"op": "mint", "format": form, "id": self.id}
        if form == "toll-booth":
            return request | {
                "secret": self.root_key, "token_id": self.token_id, "credit": self.credit
            }
        return request | {
            "secret": self.secret, "expires_at": self.expires_at, "endpoint": self.endpoint,
            "method": self.method, "ip": self.ip,
        }

    def verify(self, form, token, **changes):
        secret = self.root_key if form == "toll-booth" else self.secret
        request = {"op": "verify", "format": form, "secret": secret, "token": token,
                   "preimage": self.preimage, "now_ms": NOW * 1000, **self.context}
        return request | changes


class Differential(unittest.TestCase):
    def setUp(self):
        self.rng = random.Random(f"{SEED} {self.id()}")
        self.cases = [Case(self.rng) for _ in range(TOKENS)]


class LightningToll(Differential):
    def minted_there(self, case):
        return create_macaroon(
            case.secret, payment_hash=case.id, expires_at=case.expires_at,
            endpoint=case.endpoint, method=case.method, ip=case.ip,
        ).raw

    def accepted_there(self, case, token, preimage=None):
        credentials = parse_authorization(f"L402 {token}:{preimage or case.preimage}")
        macaroon = credentials and decode_macaroon(credentials.macaroon)
        if not macaroon:
            return False
        try:
            valid = verify_macaroon(case.secret, macaroon, case.context).valid
            return valid and verify_preimage(credentials.preimage, macaroon.id)
        except (AttributeError, TypeError, ValueError):
            return False  # It answers 500.

    def test_it_is_the_pinned_package(self):
        self.assertEqual(version("lightning-toll"), LIGHTNING_TOLL)

    def test_both_mint_the_same_bytes(self):
        answers = tollway([case.mint("lightning-toll") for case in self.cases])
        for case, here in zip(self.cases, answers, strict=True):
            self.assertEqual(here["token"], self.minted_there(case))

    def test_both_judge_a_token_alike(self):
        tokens = [self.minted_there(case) for case in self.cases]
        requests = [
            case.verify("lightning-toll", token)
            for case, token in zip(self.cases, tokens, strict=True)
        ]
        judged = [0, 0]
        for case, token, here in zip(self.cases, tokens, tollway(requests), strict=True):
            self.assertEqual(here["accepted"], self.accepted_there(case, token), token)
            judged[here["accepted"]] += 1
        self.assertGreater(min(judged), 10)

    def test_a_holder_narrows_alike(self):
        requests, expected = [], []
        for case in self.cases:
            caveat = self.rng.choice([
                f"expires_at = {NOW + self.rng.choice([-900, 900])}",
                f"endpoint = {self.rng.choice([case.context['endpoint'], '/narrow'])}",
                f"method = {self.rng.choice(['get', 'PUT'])}",
                f"ip = {self.rng.choice([case.context['ip'], '::9'])}",
            ])
            token = json.loads(decoded(self.minted_there(case)))
            signature = bytes.fromhex(token["signature"])
            token["signature"] = hmac.new(signature, caveat.encode(), "sha256").hexdigest()
            token["caveats"].append(caveat)
            token = encoded(json.dumps(token, separators=(",", ":")).encode())
            requests.append(case.verify("lightning-toll", token))
            expected.append(self.accepted_there(case, token))
        for there, here, request in zip(expected, tollway(requests), requests, strict=True):
            self.assertEqual(here["accepted"], there, request)
        self.assertIn(True, expected)

    def test_wrong_secrets_and_preimages_open_neither(self):
        requests = []
        for case in self.cases:
            token = self.minted_there(case)
            requests.append(case.verify("lightning-toll", token, secret=case.secret + "x"))
            other = self.rng.randbytes(32).hex()
            self.assertFalse(self.accepted_there(case, token, other))
            requests.append(case.verify("lightning-toll", token, preimage=other))
        self.assertFalse(any(answer["accepted"] for answer in tollway(requests)))

    def test_a_changed_byte_opens_nothing_here_that_it_does_not_open_there(self):
        requests, expected = [], []
        for case in self.cases:
            json_text = bytearray(decoded(self.minted_there(case)))
            json_text[self.rng.randrange(len(json_text))] ^= 1 << self.rng.randrange(7)
            token = encoded(bytes(json_text))
            requests.append(case.verify("lightning-toll", token))
            expected.append(self.accepted_there(case, token))
        for there, here in zip(expected, tollway(requests), strict=True):
            self.assertFalse(here["accepted"] and not there)


class TollBooth(Differential):
    def judged_there(self, cases, tokens):
        requests = [
            {"op": "verify", "secret": case.root_key, "token": token,
             "endpoint": case.context["endpoint"], "ip": case.context["ip"]}
            for case, token in zip(cases, tokens, strict=True)
        ]
        return toll_booth(requests)

    def test_minted_here_verifies_there(self):
        minted = tollway([case.mint("toll-booth") for case in self.cases])
        tokens = [answer["token"] for answer in minted]
        for case, there in zip(self.cases, self.judged_there(self.cases, tokens), strict=True):
            self.assertEqual(there, {"accepted": True, "credit": case.credit, "hash": case.id})

    def test_minted_there_verifies_here(self):
        minted = toll_booth([
            {"op": "mint", "secret": case.root_key, "id": case.id, "credit": case.credit}
            for case in self.cases
        ])
        for right in (True, False):
            requests = [
                case.verify("toll-booth", there["token"],
                            **({} if right else {"secret": self.rng.randbytes(32).hex()}))
                for case, there in zip(self.cases, minted, strict=True)
            ]
            for here in tollway(requests):
                self.assertIs(here["accepted"], right)

    def test_a_holder_narrows_alike(self):
        minted = tollway([case.mint("toll-booth") for case in self.cases])
        tokens, requests = [], []
        for case, here in zip(self.cases, minted, strict=True):
            caveat = self.rng.choice([
                f"route = {self.rng.choice(['/any', '/api/*', '/elsewhere', '/*', '*'])}",
                f"ip = {self.rng.choice([case.context['ip'], '192.0.2.9'])}",
                f"expires = {self.rng.choice(EXPIRES)}",
                "credit_balance = 9",
            ])
            token = bytearray(decoded(here["token"]))
            signature = hmac.new(bytes(token[-32:]), caveat.encode(), "sha256").digest()
            body = bytes(token[:-35]) + b"\x02" + bytes([len(caveat)]) + caveat.encode() + b"\x00"
            token = encoded(body + b"\x00\x06\x20" + signature)
            tokens.append(token)
            requests.append(case.verify("toll-booth", token))
        there = self.judged_there(self.cases, tokens)
        judged = [0, 0]
        for answer, here, request in zip(there, tollway(requests), requests, strict=True):
            self.assertEqual(here["accepted"], answer["accepted"], request)
            judged[here["accepted"]] += 1
        self.assertGreater(min(judged), 10)


def decoded(token):
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


def encoded(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


if __name__ == "__main__":
    print(f"TOLLWAY_SEED={SEED}: {TOKENS} random tokens per direction")
    unittest.main()

"""A paid route behind lightning-toll, and the same route without it, for `make bench`."""

import hashlib
import time

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse
from lightning_toll import create_macaroon, create_toll

SECRET = "secret-of-the-benchmark"
PATH = "/v1/target"
PREIMAGE = bytes([7]) * 32


class Wallet:
    """Only challenges need a wallet; the paid path never asks it."""

    async def create_invoice(self, **_):
        raise RuntimeError("no challenge is measured")


app = FastAPI()
toll = create_toll(wallet=Wallet(), secret=SECRET)


@app.get("/v1/bare")
async def bare(request: Request):
    return PlainTextResponse("ok\n")


@app.get(PATH)
@toll.require(sats=1)
async def target(request: Request):
    return PlainTextResponse("ok\n")


@app.get("/credential")
async def credential():
    macaroon = create_macaroon(
        SECRET,
        payment_hash=hashlib.sha256(PREIMAGE).hexdigest(),
        expires_at=int(time.time()) + 86_400,
        endpoint=PATH,
        method="GET",
    )
    return PlainTextResponse(f"L402 {macaroon.raw}:{PREIMAGE.hex()}")

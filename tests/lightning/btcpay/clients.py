"""Published clients of BTCPay's Greenfield API, behind one door for the tests.

Every POST is one call of a client: `{"key": .., "do": .., ..}`, answered with what the client
returned, or with the status that it was refused with. What a reply says, it says in the client's
fields, so that a reply which the client does not understand is missing here.
"""

import asyncio
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pygreenfield
from pygreenfield.rest import ApiException
from tollbooth.btcpay_client import BTCPayClient, BTCPayError

PORT, URL, STORE = int(sys.argv[1]), sys.argv[2], sys.argv[3]


def generated(api, key):
    configuration = pygreenfield.Configuration()
    configuration.host = URL
    configuration.api_key = {"Authorization": key}
    configuration.api_key_prefix = {"Authorization": "token"}
    # It would show an empty password as well, in the same header.
    settings = configuration.auth_settings()
    configuration.auth_settings = lambda: {"API_Key": settings["API_Key"]}
    return api(pygreenfield.ApiClient(configuration))


def make_of_node(key, amount_msat, memo, expiry_s):
    order = pygreenfield.CreateLightningInvoiceRequest(
        amount=str(amount_msat), description=memo, expiry=expiry_s, private_route_hints=True
    )
    api = generated(pygreenfield.LightningStoreApi, key)
    made = api.store_lightning_node_api_create_invoice(order, "BTC", STORE)
    return {"id": made.id, "bolt11": made.bolt11, "amount": made.amount, "status": made.status}


def see_of_node(key, id):
    api = generated(pygreenfield.LightningStoreApi, key)
    seen = api.store_lightning_node_api_get_invoice("BTC", STORE, id)
    return {"status": seen.status, "bolt11": seen.bolt11, "received": seen.amount_received}


def pay(key, bolt11):
    order = pygreenfield.PayLightningInvoiceRequest(bolt11=bolt11)
    generated(pygreenfield.LightningStoreApi, key).store_lightning_node_api_pay_invoice(
        order, "BTC", STORE
    )
    return {}


def make_of_store(key, sats, memo, minutes):
    order = pygreenfield.CreateInvoiceRequest(
        amount=str(sats),
        currency="SATS",
        metadata={"itemDesc": memo},
        checkout=pygreenfield.CheckoutOptions(
            payment_methods=["BTC-LightningNetwork"], expiration_minutes=minutes
        ),
    )
    api = generated(pygreenfield.InvoicesApi, key)
    made = api.invoices_create_invoice(order, STORE)
    listed = [invoice["id"] for invoice in api.invoices_get_invoices(STORE)]
    assert made.id in listed, listed
    fields = {"id": made.id, "status": made.status, "amount": made.amount}
    return {**fields, **ways(key, made.id)}


def ways(key, id):
    ways = generated(pygreenfield.InvoicesApi, key).invoices_get_invoice_payment_methods(STORE, id)
    [bolt11] = [way.destination for way in ways if way.destination.startswith("lnbcrt")]
    return {"bolt11": bolt11}


def see_of_store(key, id):
    seen = generated(pygreenfield.InvoicesApi, key).invoices_get_invoice(STORE, id)
    return {"status": seen.status, "amount": seen.amount, "store": seen.store_id}


def permissions(key):
    seen = generated(pygreenfield.APIKeysApi, key).api_v1_api_keys_current_get()
    return {"permissions": seen.permissions}


def of_the_paywall(call):
    async def run(key, **order):
        async with BTCPayClient(URL, key, STORE) as client:
            return await call(client, **order)

    return lambda key, **order: asyncio.run(run(key, **order))


CALLS = {
    "make_of_node": make_of_node,
    "see_of_node": see_of_node,
    "pay": pay,
    "make_of_store": make_of_store,
    "see_of_store": see_of_store,
    "ways": ways,
    "permissions": permissions,
    "paywall_makes": of_the_paywall(lambda client, sats: client.create_invoice(sats)),
    "paywall_sees": of_the_paywall(lambda client, id: client.get_invoice(id)),
    "paywall_permissions": of_the_paywall(lambda client: client.get_api_key_info()),
}


class Door(BaseHTTPRequestHandler):
    def do_POST(self):
        order = json.loads(self.rfile.read(int(self.headers["content-length"])))
        try:
            status, said = 200, CALLS[order.pop("do")](**order)
        except ApiException as refused:
            status, said = refused.status, refused.body.decode()
        except BTCPayError as refused:
            status, said = refused.status_code or 503, str(refused)
        except Exception as fault:  # The client does not understand the answer.
            status, said = 500, repr(fault)
        body = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words):
        pass


ThreadingHTTPServer(("127.0.0.1", PORT), Door).serve_forever()

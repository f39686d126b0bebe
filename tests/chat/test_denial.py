from chat.denial import deny


async def answer(extensions):
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"extensions": extensions} if extensions is not None else {}
    await deny(scope, send, status=400, reason="Offer something.")
    return sent


async def test_status_and_reason_are_sent():
    start, body = await answer({"websocket.http.response": {}})
    assert start["status"] == 400
    assert dict(start["headers"])[b"content-length"] == b"17"
    assert body == {"type": "websocket.http.response.body", "body": b"Offer something.\n"}


async def test_server_that_cannot_say_why_says_no():
    assert await answer({}) == await answer(None) == [{"type": "websocket.close"}]

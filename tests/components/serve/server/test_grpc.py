"""V2 over gRPC, driven by kserve's own client."""

import asyncio
import json
import struct

import grpc
import numpy as np
import pytest
from grpc import aio
from kserve import InferenceGRPCClient, InferInput, InferRequest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from kserve.protocol.infer_type import RequestedOutput

from kfp_lifecycle.components.serve.server import tensors as tensors_module
from kfp_lifecycle.components.serve.server.batching import BatchingPredictor
from kfp_lifecycle.components.serve.server.direct import DirectPredictor
from kfp_lifecycle.components.serve.server.grpc_server import GrpcServer
from kfp_lifecycle.components.serve.server.host import Host
from kfp_lifecycle.components.serve.server.inference import Inference
from kfp_lifecycle.components.serve.server.options import ServerOptions
from kfp_lifecycle.components.shared.errors import ServingError
from tests.components.serve.load import tensors
from tests.components.serve.server.small import Small
from tests.components.serve.serving import serving
from tests.servers import free_port

pytestmark = pytest.mark.server


class Grpc:
    """A server with REST and gRPC."""

    def __init__(self, rest, port):
        self.rest, self.address = rest, f"127.0.0.1:{port}"

    def ask(self, call):
        """What kserve's client gets."""

        async def run():
            async with InferenceGRPCClient(self.address, retries=0, channel_args=QUIET) as client:
                return await call(client)

        return asyncio.run(run())

    def stub(self, call, **options):
        async def run():
            async with aio.insecure_channel(self.address, **options) as channel:
                return await call(GRPCInferenceServiceStub(channel))

        return asyncio.run(run())

    def infer(self, request, **more):
        return self.ask(lambda client: client.infer(request, **more))

    def refused(self, request):
        """The status and reason of a request that is refused."""
        with pytest.raises(grpc.RpcError) as caught:
            self.infer(request)
        return caught.value.code(), caught.value.details()


QUIET = [("grpc.enable_retries", 0), ("grpc.max_send_message_length", -1)]


@pytest.fixture(scope="module")
def churn(models, tmp_path_factory):
    port = free_port()
    flags = ["--grpc-port", str(port), "--log-format", "json", "--access-log", "--max-body-mb", "1"]
    with serving(models.binary, tmp_path_factory.mktemp("grpc"), *flags) as rest:
        yield Grpc(rest, port)


def request(rows, model="churn", *, raw=False, outputs=None, request_id="abc"):
    """Records as kserve's request, one tensor a column."""
    kinds = {"INT64": np.int64, "FP64": np.float64, "BOOL": np.bool_, "BYTES": np.object_}
    inputs = []
    for each in tensors(rows)["inputs"]:
        given = InferInput(each["name"], each["shape"], each["datatype"])
        values = [value.encode() if isinstance(value, str) else value for value in each["data"]]
        if raw:
            given.set_data_from_numpy(np.array(values, kinds[each["datatype"]]))
        else:
            given.data = values
        inputs.append(given)
    wanted = [RequestedOutput(name) for name in outputs] if outputs else None
    return InferRequest(model, inputs, request_id=request_id, request_outputs=wanted)


def rest_answer(server, rows):
    return server.rest.post("/v1/models/churn:predict", {"instances": rows}).json()["predictions"]


def records(answer):
    columns = {output.name: list(output.as_numpy()) for output in answer.outputs}
    texts = {
        name: [value.decode() if isinstance(value, bytes) else value for value in values]
        for name, values in columns.items()
    }
    return [dict(zip(texts, row, strict=True)) for row in zip(*texts.values(), strict=True)]


def test_the_server_is_live_and_ready_and_says_what_it_is(churn):
    assert churn.ask(lambda client: client.is_server_live())
    assert churn.ask(lambda client: client.is_server_ready())
    found = churn.stub(lambda stub: stub.ServerMetadata(pb.ServerMetadataRequest()))
    assert {"name": found.name, "version": found.version, "extensions": list(found.extensions)} == (
        churn.rest.get("/v2").json()
    )


def test_a_model_is_ready_by_its_name_and_version_and_no_other_is(churn):
    version = churn.rest.get("/v2/models/churn").json()["versions"][0]
    assert churn.ask(lambda client: client.is_model_ready("churn"))
    for named in (("churn", version), ("churn", "")):
        asked = pb.ModelReadyRequest(name=named[0], version=named[1])
        assert churn.stub(lambda stub, asked=asked: stub.ModelReady(asked)).ready
    for named in (("other", ""), ("churn", "999")):
        asked = pb.ModelReadyRequest(name=named[0], version=named[1])
        with pytest.raises(grpc.RpcError) as caught:
            churn.stub(lambda stub, asked=asked: stub.ModelReady(asked))
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
        assert named[1] or named[0] in caught.value.details()


def test_metadata_is_that_of_rest(churn):
    found = churn.stub(lambda stub: stub.ModelMetadata(pb.ModelMetadataRequest(name="churn")))
    said = churn.rest.get("/v2/models/churn").json()
    assert (found.name, list(found.versions), found.platform) == (
        said["name"],
        said["versions"],
        said["platform"],
    )
    for ours, theirs in ((found.inputs, said["inputs"]), (found.outputs, said["outputs"])):
        assert [
            {"name": each.name, "datatype": each.datatype, "shape": list(each.shape)} for each in ours
        ] == theirs


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("count", [1, 20])
def test_the_answer_is_that_of_rest(churn, models, raw, count):
    rows = models.rows[:count]
    answer = churn.infer(request(rows, raw=raw))
    assert (answer.model_name, answer.id) == ("churn", "abc")
    assert answer.model_version == churn.rest.get("/v2/models/churn").json()["versions"][0]
    assert records(answer) == rest_answer(churn, rows)
    assert all(output.shape == [count] for output in answer.outputs)


def test_outputs_can_be_chosen_and_one_that_is_not_there_is_named(churn, models):
    answer = churn.infer(request(models.rows[:2], outputs=["probability_Yes"]))
    assert [output.name for output in answer.outputs] == ["probability_Yes"]
    code, said = churn.refused(request(models.rows[:2], outputs=["probability_maybe"]))
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "probability_maybe" in said


def test_mistakes_are_answered_with_their_column_and_reason(churn, models):
    rows = models.rows[:2]
    assert churn.refused(request(rows, model="other"))[0] == grpc.StatusCode.NOT_FOUND
    missing = [{name: value for name, value in row.items() if name != "tenure"} for row in rows]
    assert churn.refused(request(missing)) == (grpc.StatusCode.INVALID_ARGUMENT, Contains("'tenure'"))
    extra = [{**row, "tenurre": 1} for row in rows]
    assert churn.refused(request(extra)) == (grpc.StatusCode.INVALID_ARGUMENT, Contains("tenurre"))
    wrong = [{**row, "tenure": "long"} for row in rows]
    assert churn.refused(request(wrong)) == (grpc.StatusCode.INVALID_ARGUMENT, Contains("tenure"))
    assert churn.refused(InferRequest("churn", [])) == (grpc.StatusCode.INVALID_ARGUMENT, Contains("inputs"))


class Contains(str):
    """Equal to every text that it is in."""

    def __eq__(self, other):
        return str(self) in other

    __hash__ = None


def wire(datatype, shape, raw=None, name="tenure", **contents):
    made = pb.ModelInferRequest(model_name="churn")
    tensor = made.inputs.add(name=name, datatype=datatype, shape=shape)
    for field, values in contents.items():
        getattr(tensor.contents, field).extend(values)
    if raw is not None:
        made.raw_input_contents.extend(raw)
    return made


@pytest.mark.parametrize(
    "broken",
    [
        wire("INT64", [2], int64_contents=[1]),
        wire("INT64", [-1], int64_contents=[1]),
        wire("INT64", [], int64_contents=[1]),
        wire("FP8", [1]),
        wire("FP16", [1], fp32_contents=[1.0]),
        wire("INT64", [1], fp32_contents=[1.0]),
        wire("BYTES", [1], bytes_contents=[b"\xff"]),
        wire("INT64", [1], raw=[b"\x01"]),
        wire("INT64", [1], raw=[b"\x01" * 8, b"\x01" * 8]),
        wire("INT64", [1], raw=[b"\x01" * 8], int64_contents=[1]),
        wire("BYTES", [1], raw=[struct.pack("<I", 5) + b"abc"]),
        wire("BYTES", [1], raw=[b"\x01"]),
        wire("INT64", [2**40], raw=[b"\x01" * 8]),
    ],
    ids=str,
)
def test_broken_tensors_are_refused_and_the_server_goes_on(churn, models, broken):
    with pytest.raises(grpc.RpcError) as caught:
        churn.stub(lambda stub: stub.ModelInfer(broken))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT, caught.value.details()
    assert "tenure" in caught.value.details() or "raw contents" in caught.value.details()
    assert len(churn.infer(request(models.rows[:1])).outputs) == 3


def test_a_message_that_is_too_large_is_refused(churn, models):
    code, _ = churn.refused(request(models.rows * 60))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_the_request_id_is_the_clients_or_a_new_one(churn, models):
    async def ids(stub):
        call = stub.ModelInfer(request(models.rows[:1], request_id="").to_grpc(), metadata=metadata)
        headers = dict(await call.initial_metadata())
        return headers["x-request-id"], (await call).id

    metadata = (("x-request-id", "from-client"),)
    assert churn.stub(ids) == ("from-client", "from-client")
    metadata = ()
    first, second = churn.stub(ids), churn.stub(ids)
    assert first[0] == first[1] != second[0]
    assert len(first[0]) >= 16


def test_what_is_asked_over_grpc_is_counted_and_has_a_log_line(churn, models):
    def counted():
        lines = churn.rest.get("/metrics").text.splitlines()
        found = [line for line in lines if line.startswith("model_predictions_total{")]
        return float(found[0].rsplit(" ", 1)[1])

    before = counted()
    churn.infer(request(models.rows[:7], request_id="count-me"))
    assert counted() == before + 7
    lines = [json.loads(line) for line in churn.rest.log.read_text().splitlines() if "count-me" in line]
    assert [(line["protocol"], line["rows"], line["message"]) for line in lines] == [("grpc", 7, "answered")]


def test_the_repositorys_calls(churn):
    load = pb.RepositoryModelLoadRequest(model_name="churn")
    assert churn.stub(lambda stub: stub.RepositoryModelLoad(load)).isLoaded
    for call, code in (
        (lambda stub: stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="x")), "NOT_FOUND"),
        (
            lambda stub: stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="churn")),
            "FAILED_PRECONDITION",
        ),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            churn.stub(call)
        assert caught.value.code().name == code
    assert churn.ask(lambda client: client.is_model_ready("churn"))


async def beside(served, ask, *, port=0, predictor=None):
    """What a client gets from a gRPC server in this process, and the server."""
    options = ServerOptions("unused", host="127.0.0.1", grpc_port=port)
    host = Host(served)
    server = GrpcServer(options, host)
    await server.start(Inference(host, options, predictor or DirectPredictor(1, 60)))
    try:
        async with InferenceGRPCClient(f"127.0.0.1:{server.port}", retries=0, channel_args=QUIET) as client:
            return await ask(client, server)
    finally:
        await server.stop(0)


@pytest.mark.parametrize("datatype", ["FP64", "FP32", "FP16", "INT64", "UINT8"])
def test_one_tensor_may_hold_all_columns(datatype):
    values = np.array([[30, 7, 1, 0], [40, 2, 5, 1], [0, 9, 3, 1]], tensors_module.DTYPES[datatype])
    tensor = InferInput("all", [3, 4], datatype)
    tensor.set_data_from_numpy(values)
    answer = asyncio.run(beside(Small(), lambda client, _: client.infer(InferRequest("small", [tensor]))))
    assert list(answer.outputs[0].as_numpy()) == [37.0, 42.0, 9.0]
    assert [value.decode() for value in answer.outputs[1].as_numpy()] == ["1", "5", "3"]


def test_what_is_under_way_is_answered_when_the_server_ends():
    """Batching makes a request wait for half a second, in which the server is told to end."""

    async def ask(client, server):
        asking = asyncio.ensure_future(client.infer(request([{"age": 3, "fare": 1.5}], "small")))
        await asyncio.sleep(0.1)
        await server.stop(30)
        with pytest.raises(grpc.RpcError):
            await client.infer(request([{"age": 3}], "small"))
        return await asking

    answer = asyncio.run(beside(Small(), ask, predictor=BatchingPredictor(DirectPredictor(1, 60), 99, 500)))
    assert list(answer.outputs[0].as_numpy()) == [4.5]


def test_a_server_that_is_not_ready_says_so():
    """As REST does, before all has started and while the server drains."""

    async def ask(client, server):
        assert await client.is_server_live()
        return await client.is_server_ready(), await client.is_model_ready("small")

    assert asyncio.run(beside(Small(), ask)) == (False, False)


def test_a_client_that_goes_is_no_fault_of_the_servers():
    class Watching:
        def __init__(self):
            self.seen = []

        def started(self, call):
            self.seen.append("started")

        def answered(self, answer):
            self.seen.append("answered")

        def failed(self, call, error):
            self.seen.append(error.kind)

    async def ask():
        options, host, watching = (
            ServerOptions("unused", host="127.0.0.1", grpc_port=0),
            Host(Small()),
            Watching(),
        )
        server = GrpcServer(options, host)
        predictor = BatchingPredictor(DirectPredictor(1, 60), 99, 60_000)
        await server.start(Inference(host, options, predictor, [watching]))
        async with InferenceGRPCClient(f"127.0.0.1:{server.port}", retries=0, channel_args=QUIET) as client:
            with pytest.raises(grpc.RpcError):
                await client.infer(request([{"age": 3}], "small"), timeout=0.3)
        while len(watching.seen) < 2:
            await asyncio.sleep(0.01)
        await server.stop(0)
        return watching.seen

    assert asyncio.run(asyncio.wait_for(ask(), 30)) == ["started", "bad_request"]


def test_a_port_that_is_taken_is_named():
    async def ask(client, server):
        with pytest.raises(ServingError, match=f"gRPC cannot listen on port {server.port}"):
            await beside(Small(), ask, port=server.port)
        return True

    assert asyncio.run(beside(Small(), ask))

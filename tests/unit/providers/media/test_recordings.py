"""What real media providers were asked and answered: what we would ask is the same, and what they said is understood. Every
recording of images, films and sound is used by some test, or it is said why not."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from polyroute.catalog.build import build_catalog
from polyroute.catalog.inputs import CatalogInput
from polyroute.catalog.model import Provider
from polyroute.catalog.rows import load_rows
from polyroute.engine.forms import Form
from polyroute.ports import FormPart
from polyroute.providers.media.fal_answers import outcome_of, read_failure
from polyroute.providers.media.openai import ImageEdits, Images, Speech, Transcription
from polyroute.providers.media.replicate import Predictions, ReplicateMedia
from polyroute.providers.media.tables import load_table
from polyroute.providers.media.together import Images as TogetherImages
from polyroute.types.errors import AttemptFailed, ErrorKind
from polyroute.types.media import Handle, MediaInput, MediaRequest, Outcome, Task
from support.media_recordings import recording
from support.recordings import recordings_folder
from support.replayed_wire import ReplayedWire, body_of, reply_of

SOUND = MediaInput(role="audio", url="https://a.example/ruby.wav", name="ruby.wav")


def predictions(task: Task, model: str) -> Predictions:
    spec = load_table("replicate").find(task, model)
    assert spec is not None
    return Predictions(spec, "replicate")


def path_of(real: dict[str, Any], base_url: str) -> str:
    url: str = real["request"]["url"]
    assert url.startswith(base_url)
    return url.removeprefix(base_url)


# ---------------------------------------------------------------- Replicate

ORDERS = {
    "replicate/prediction-flux-dev-predictions": "black-forest-labs/flux-dev",
    "replicate/prediction-image-generation-predictions-3": None,
    "replicate/prediction-predictions-cancel-true-3": None,
    "replicate/prediction-v1-predictions-3": None,
    "replicate/prediction-v1-predictions-5": None,
    "huggingface/prediction-text-to-image-default-replicate-text-to-image": None,
}
"""The official model that was asked; None where a version was."""


@pytest.mark.parametrize(("identifier", "official"), ORDERS.items())
async def test_a_prediction_is_ordered_as_it_was_recorded(identifier: str, official: str | None) -> None:
    real = recording(identifier)
    sent = real["request"]["body_json"]
    model = official or sent["version"]
    maker = predictions(Task.TEXT_TO_IMAGE, model)
    options = {name: value for name, value in sent["input"].items() if name != "prompt"}
    request = MediaRequest(
        task=Task.TEXT_TO_IMAGE, prompt=sent["input"]["prompt"], options={"replicate": options} if options else {}
    )
    wire = ReplayedWire(real)
    handle = await maker.submit(request, model, wire)
    assert isinstance(handle, Handle)
    assert handle.id == real["response"]["body_json"]["id"]
    base_url = (
        "https://router.huggingface.co/replicate/v1" if "huggingface" in identifier else "https://api.replicate.com/v1"
    )
    assert (wire.asked[0].path, wire.asked[0].json) == (path_of(real, base_url), sent)


@pytest.mark.parametrize("number", [1, 2])
async def test_a_recorded_prediction_is_asked_for_and_read(number: int) -> None:
    real = recording(f"replicate/prediction-predictions-get-{number}")
    answer = real["response"]["body_json"]
    wire = ReplayedWire(real)
    maker = predictions(Task.TEXT_TO_IMAGE, "stability-ai/sdxl")
    outcome = await maker.poll(Handle(id=answer["id"], data={"task": "text_to_image"}), wire)
    assert isinstance(outcome, Outcome)
    assert [one.url for one in outcome.produced] == answer["output"]
    assert wire.asked[0].path == path_of(real, "https://api.replicate.com/v1")


def test_what_replicate_refused_names_its_input() -> None:
    answer = recording("replicate/error-422-prediction-validation-2")["response"]
    failure = ReplicateMedia(load_sandboxed("replicate")).classify(answer["status"], [], body_of(answer))
    assert failure is not None
    assert (failure.kind, "text is required" in failure.message) == (ErrorKind.INVALID_REQUEST, True)


def load_sandboxed(name: str) -> Provider:
    return build_catalog(load_rows(), CatalogInput(), {}, sandbox_url="http://127.0.0.1:1").providers[name]


async def test_a_recorded_prediction_is_cancelled() -> None:
    real = recording("replicate/prediction-predictions-cancel-true-4")
    wire, handle = (
        ReplayedWire(real, real),
        Handle(id=real["response"]["body_json"]["id"], data={"task": "text_to_image"}),
    )
    maker = predictions(Task.TEXT_TO_IMAGE, "stability-ai/sdxl")
    await maker.cancel(handle, wire)
    assert wire.asked[0].path == path_of(real, "https://api.replicate.com/v1")
    with pytest.raises(AttemptFailed) as caught:
        await maker.poll(handle, wire)
    assert caught.value.failure.kind is ErrorKind.GENERATION_FAILED


async def test_a_file_is_uploaded_as_it_was_recorded() -> None:
    real = recording("replicate/file-operations-1")
    answer = recording("replicate/prediction-image-generation-predictions-3")
    wire = ReplayedWire(real, answer, content=b"", media_type="text/plain")
    wire.input_url = lambda item: _nothing()  # type: ignore[method-assign]
    picture = MediaInput(role="image", artifact="art_1", name="picture.png")
    request = MediaRequest(task=Task.UPSCALE_IMAGE, inputs=(picture,))
    await predictions(Task.UPSCALE_IMAGE, "nightmareai/real-esrgan").submit(request, "nightmareai/real-esrgan", wire)
    [part] = wire.asked[0].form or ()
    with closing(read_form(real["request"])) as form:
        [upload] = form.uploads()
    assert (wire.asked[0].path, part.name, part.media_type) == ("/files", upload.name, upload.media_type)
    assert wire.asked[1].json["input"]["image"] == real["response"]["body_json"]["urls"]["get"]


async def _nothing() -> None:
    return None


# ---------------------------------------------------------------- OpenAI and those who speak as it does


def read_form(request: dict[str, Any]) -> Form:
    form = Form(request["headers"]["content-type"])
    form.write(body_of(request))
    form.finish()
    return form


@pytest.mark.parametrize(
    ("identifier", "base_url"),
    [
        ("openai/image-images-generate-a-baby-sea-otter-cooking-pasta-wearing-a-hat-of", "https://api.openai.com/v1"),
        ("openai/image-images-generate-a-lion-cooking-pasta-wearing-a-hat-of-some-sort", "https://api.openai.com/v1"),
        ("openai/image-images-generate-a-springer-spaniel-cooking-pasta-wearing-a-hat-o", "https://api.openai.com/v1"),
        ("nebius/image-images-generations-black-forest-labs-flux-schnell", "https://api.studio.nebius.ai/v1"),
        ("huggingface/image-text-to-image-default-nebius-text-to-image", "https://router.huggingface.co/nebius/v1"),
    ],
)
async def test_pictures_are_asked_for_as_they_were_recorded(identifier: str, base_url: str) -> None:
    real = recording(identifier)
    sent = dict(real["request"]["body_json"])
    wide, _, high = str(sent.get("size") or "x").partition("x")
    others = {
        name: value for name, value in sent.items() if name not in ("prompt", "model", "size", "quality", "style")
    }
    request = MediaRequest(
        task=Task.TEXT_TO_IMAGE, prompt=sent["prompt"], width=int(wide) if wide else None, height=int(high) if high else None,
        quality=sent.get("quality"), style=sent.get("style"), options={"server": others} if others else {},
    )  # fmt: skip
    wire = ReplayedWire(real)
    outcome = await Images("/images/generations", "server").make(request, sent.get("model") or "none", wire)
    assert wire.asked[0].path == path_of(real, base_url)
    assert wire.asked[0].json == {"model": "none", **sent}
    listed = real["response"]["body_json"]["data"]
    assert [one.url or bool(one.data) for one in outcome.produced] == [one.get("url") or True for one in listed]
    assert [one.revised_prompt for one in outcome.produced] == [one.get("revised_prompt") for one in listed]


@pytest.mark.parametrize(
    ("identifier", "form"),
    [
        ("openai/speech-basic-functionality-can-speak", "mp3"),
        ("openrouter/speech-basic-functionality-hexgrad-kokoro-82m-can-speak", "mp3"),
    ],
)
async def test_speech_is_asked_for_as_it_was_recorded(identifier: str, form: str) -> None:
    real = recording(identifier)
    sent = real["request"]["body_json"]
    wire = ReplayedWire(real)
    request = MediaRequest(task=Task.SPEECH, prompt=sent["input"], voice=sent["voice"], format=form)
    stream = await Speech("/audio/speech", "server").stream(request, sent["model"], wire)
    assert wire.asked[0].json == {"response_format": form, **sent}
    assert b"".join([block async for block in stream.chunks()]) == body_of(real["response"])
    assert stream.media_type == "audio/mpeg"


@pytest.mark.parametrize(
    ("identifier", "speakers"),
    [
        ("openai/transcription-audio-whisper-1-transcribe", []),
        ("openai/transcription-basic-functionality-can-transcribe-with-language-hint", ["A"]),
        ("openrouter/transcription-basic-functionality-can-transcribe-audio", []),
        ("mistral/transcription-basic-functionality-voxtral-mini-latest-labels-segments-with-spe", ["speaker_1"]),
    ],
)
async def test_transcripts_are_asked_for_as_they_were_recorded(identifier: str, speakers: list[str]) -> None:
    real = recording(identifier)
    with closing(read_form(real["request"])) as form:
        sent, files = form.values(), {upload.name for upload in form.uploads()}
    wire = ReplayedWire(real, content=b"RIFF", media_type="audio/wav")
    ours = {"model", "response_format", "language", "chunking_strategy"}
    options = {name: value for name, value in sent.items() if name not in ours}
    request = MediaRequest(
        task=Task.TRANSCRIBE, inputs=(SOUND,), language=sent.get("language"), diarize="diarize" in sent["model"] or None,
        options={"server": options} if options else {},
    )  # fmt: skip
    outcome = await Transcription("/audio/transcriptions", "server").make(request, sent["model"], wire)
    parts = {part.name: part for part in wire.asked[0].form or ()}
    assert files == {name for name, part in parts.items() if part.filename}
    for name, value in sent.items():
        assert [value_of(parts[name])] == ([value] if isinstance(value, str) else value) or name == "response_format", (
            name
        )
    answer = real["response"]["body_json"]
    assert outcome.transcript is not None
    assert outcome.transcript.text == answer["text"]
    assert [segment.speaker for segment in outcome.transcript.segments] == speakers


def value_of(part: FormPart) -> str:
    assert isinstance(part.value, str)
    return part.value


@pytest.mark.parametrize(
    "identifier",
    ["openai/error-400-image-edit-invalid-image-data", "openai/error-400-image-unknown-parameter"],
)
async def test_what_openai_refused_is_no_picture(identifier: str) -> None:
    real = recording(identifier)
    picture = MediaInput(role="image", url="https://a.example/logo.svg", name="logo.svg")
    request = MediaRequest(task=Task.IMAGE_TO_IMAGE, prompt="turn the logo to green", inputs=(picture,))
    with pytest.raises(AttemptFailed) as caught:
        await ImageEdits("/images/edits", "server").make(
            request, "gpt-image-1.5", ReplayedWire(real, content=b"<svg/>")
        )
    assert caught.value.failure.kind is ErrorKind.BAD_RESPONSE  # its status is judged before: see test_classify.py


async def test_a_picture_of_together_is_the_same_through_a_router() -> None:
    real = recording("huggingface/image-text-to-image-default-together-text-to-image")
    sent = real["request"]["body_json"]
    spec = load_table("together").find(Task.TEXT_TO_IMAGE, sent["model"])
    assert spec is not None
    wire = ReplayedWire(real)
    request = MediaRequest(task=Task.TEXT_TO_IMAGE, prompt=sent["prompt"])
    outcome = await TogetherImages(spec, "together").make(request, sent["model"], wire)
    assert wire.asked[0].json == sent
    assert outcome.produced[0].data is not None
    assert outcome.produced[0].data.startswith(b"\xff\xd8\xff")


# ---------------------------------------------------------------- fal, ElevenLabs


@pytest.mark.parametrize(
    "name",
    ["fal-ai-pixart-sigma", "fal-ai-stable-diffusion-v35-large", "fal-ai-kolors", "fal-ai-playground-v25", "flux-dev"],
)
def test_a_picture_that_fal_gave_is_understood(name: str) -> None:
    real = recording(f"fal/image-{name}")
    handle = Handle(id="x", data={"task": "text_to_image", "model": "fal-ai/x"})
    outcome = outcome_of(reply_of(real["response"]), handle, None)
    told = real["response"]["body_json"]["images"]
    assert [one.url for one in outcome.produced] == [one["url"] for one in told]
    assert outcome.usage.image_size == f"{told[0]['width']}x{told[0]['height']}"


def test_an_endpoint_that_fal_does_not_have_is_left_to_the_usual_reading() -> None:
    answer = recording("fal/error-404-image-not-found")["response"]
    assert read_failure(answer["status"], [], body_of(answer)) is None


async def test_the_sound_of_elevenlabs_is_handed_on_as_it_is() -> None:
    real = recording("elevenlabs/speech-mp3-voice")
    wire = ReplayedWire(real)
    request = MediaRequest(task=Task.SPEECH, prompt="Hello.", voice="alloy")
    stream = await Speech("/v1/text-to-speech/x", "elevenlabs").stream(request, "eleven_flash_v2_5", wire)
    content = b"".join([block async for block in stream.chunks()])
    assert (stream.media_type, content) == ("audio/mpeg", body_of(real["response"]))


# ---------------------------------------------------------------- all of them

MEDIA = {
    "image",
    "image_edit",
    "video",
    "speech",
    "transcription",
    "transcription_stream",
    "prediction",
    "prediction_stream",
}
WHY_NOT = {
    "bfl/image-text-to-image-default-black-forest-labs-text-to-image-2": "a poll before the one that is used, not done",
    "bfl/image-text-to-image-default-black-forest-labs-text-to-image-3": "a poll before the one that is used, not done",
    "cartesia/": "no provider of ours; recorded for readers of words and times",
    "cohere/": "its transcripts are not served: it speaks no dialect of OpenAI's there",
    "deepgram/": "no provider of ours; AI/ML API hands its results on, and its tests read them",
    "gladia/": "no provider of ours",
    "hyperbolic/": "no provider of ours, and a shape of its own",
    "revai/": "no provider of ours",
    "replicate/file-operations-2": "we read no uploaded file again",
    "replicate/file-operations-3": "we list no uploaded files",
    "replicate/file-operations-4": "uploads go by themselves after a day",
    "replicate/models-": "cards of single models: we list models, and know their inputs by the table",
    "replicate/prediction-llama-stream": "text, which we do not ask Replicate for",
    "replicate/prediction-stream-llama-stream": "text, which we do not ask Replicate for",
    "replicate/prediction-predictions-cancel-true": "text, which we do not ask Replicate for",
    "replicate/prediction-predictions-create-by-model-false": "text, which we do not ask Replicate for",
    "openai/transcription-vtt-format": "words as the caller wanted them are relayed, not read",
    "groq/transcription-text-format": "words as the caller wanted them are relayed, not read",
    "google/file-video": "a redirect, which the fetcher follows: see test_fetch.py",
}


def media_recordings(folder: Path) -> list[str]:
    found = []
    for line in (folder / "index.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        endpoint = json.loads((folder / row["path"]).read_text(encoding="utf-8")).get("endpoint")
        of_files = row["operation"] in ("file", "models") and row["provider"] in ("replicate", "google")
        if row["operation"] in MEDIA or endpoint in MEDIA or (of_files and "video" in row["id"]) or (
            of_files and row["provider"] == "replicate"
        ):  # fmt: skip
            found.append(row["id"])
    return found


def test_every_recording_of_media_is_used_or_it_is_said_why_not() -> None:
    folder = recordings_folder()
    if folder is None:
        pytest.skip("the recordings of real providers are not beside the repository")
    tests = "\n".join(file.read_text(encoding="utf-8") for file in Path(__file__).parents[3].rglob("test_*.py"))
    left = [
        identifier
        for identifier in media_recordings(folder)
        if not is_named(identifier, tests) and not any(identifier.startswith(start) for start in WHY_NOT)
    ]
    assert left == []


def is_named(identifier: str, tests: str) -> bool:
    """Whether a test says its name, whole, without the provider, or with the number that some are counted by."""
    name = identifier.partition("/")[2]
    return any(part in tests for part in (identifier, f'"{name}"', name.removeprefix("image-") + '"', name[:-1] + "{"))

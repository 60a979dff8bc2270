"""What a client may ask for: every number and every list has a bound, and no value is coerced.

Three kinds of fields: honoured (declared below), harmless (accepted, and named in the reply's
``x-zhixing-ignored-fields`` header together with any field we have never heard of), and refused: what
changes the meaning of the answer and cannot be honoured is an error, never silence.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

MAX_CHOICES = 16
MAX_PROMPTS = 64
MAX_MESSAGES = 1024
MAX_PARTS = 256
MAX_STOPS = 16
MAX_STOP_CHARACTERS = 256
MAX_LOGPROBS = 20
MAX_BIASES = 300
MAX_TOKENS = 1 << 20
_INT64 = 1 << 63

REFUSED_FIELDS = frozenset(
    [
        "tools",
        "tool_choice",
        "functions",
        "function_call",
        "suffix",
        "modalities",
        "audio",
        "prediction",
        "web_search_options",
        "chat_template",
        "chat_template_kwargs",
        "documents",
        "prompt_embeds",
        "use_beam_search",
        "length_penalty",
        "min_tokens",
        "ignore_eos",
        "stop_token_ids",
        "bad_words",
        "guided_json",
        "guided_regex",
        "guided_choice",
        "guided_grammar",
        "structured_outputs",
        "grammar",
        "json_schema",
        "prompt_logprobs",
        "logits_processors",
        "lora",
        "continue_final_message",
    ]
)
"""Fields known elsewhere that would change the answer, and that this server does not do."""


def _prompt(value: Any) -> Any:
    """Accept a string, a list of strings, a list of ids, a list of lists of ids; say which bound is broken.

    One plain function, because a union of types would report four errors for one fault.
    """
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not value:
        raise _fault("a string, a list of strings, a list of token ids, or a list of such lists is expected")
    first = type(value[0])
    if first is int:
        return _ids(value)
    if len(value) > MAX_PROMPTS:
        raise _fault(f"{len(value)} prompts were given; at most {MAX_PROMPTS} fit in one request")
    if first is str and all(type(item) is str for item in value):
        return value
    if first is list:
        return [_ids(item) for item in value]
    raise _fault("all entries of the list must be strings, or all token ids, or all lists of token ids")


def _ids(value: Any) -> list[int]:
    if not isinstance(value, list) or not value:
        raise _fault("a list of token ids must not be empty")
    if len(value) > MAX_TOKENS:
        raise _fault(f"{len(value)} token ids are more than any context holds")
    if not all(type(item) is int for item in value):
        raise _fault("a list of token ids must hold whole numbers only")
    if min(value) < 0 or max(value) >= _INT64:
        raise _fault("a token id lies outside the vocabulary")
    return value


def _stop(value: Any) -> Any:
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or len(stops) > MAX_STOPS:
        raise _fault(f"a string or a list of at most {MAX_STOPS} strings is expected")
    if not all(isinstance(stop, str) and 0 < len(stop) <= MAX_STOP_CHARACTERS for stop in stops):
        raise _fault(f"each stop must be a string of 1 to {MAX_STOP_CHARACTERS} characters")
    return stops


def _bias(value: Any) -> Any:
    if not isinstance(value, dict) or len(value) > MAX_BIASES:
        raise _fault(f"an object of at most {MAX_BIASES} entries, token id to bias, is expected")
    biases: dict[int, float] = {}
    for key, bias in value.items():
        if not (isinstance(key, str) and key.isascii() and key.isdigit() and len(key) <= 9):
            raise _fault("each key must be a token id")
        if type(bias) not in (int, float) or not -100 <= bias <= 100:
            raise _fault("each bias must be a number from -100 to 100")
        biases[int(key)] = float(bias)
    return biases


def _content(value: Any) -> Any:
    """Return the text of a message: a string, or the joined texts of its parts."""
    if value is None or isinstance(value, str):
        return value or ""
    if not isinstance(value, list) or len(value) > MAX_PARTS:
        raise _fault(f"a string or a list of at most {MAX_PARTS} text parts is expected")
    for part in value:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise _fault("only parts of type 'text' can be read by this model")
    return "".join(part["text"] for part in value)


def _fault(message: str) -> PydanticCustomError:
    return PydanticCustomError("bounds", "{reason}", {"reason": message})


_STRING = {"type": "string"}
_ID = {"type": "integer", "minimum": 0}
_ONE_PROMPT = {"type": "array", "items": _ID, "minItems": 1}
_MANY = {"minItems": 1, "maxItems": MAX_PROMPTS}
Prompt = Annotated[
    Any,
    BeforeValidator(_prompt),
    WithJsonSchema(
        {
            "anyOf": [
                _STRING,
                {"type": "array", "items": _STRING, **_MANY},
                _ONE_PROMPT,
                {"type": "array", "items": _ONE_PROMPT, **_MANY},
            ]
        }
    ),
]
_STOP_STRING = {"type": "string", "minLength": 1, "maxLength": MAX_STOP_CHARACTERS}
_STOP_LIST = {"type": "array", "items": _STOP_STRING, "maxItems": MAX_STOPS}
Stop = Annotated[
    list[str],
    BeforeValidator(_stop),
    WithJsonSchema({"anyOf": [_STOP_STRING, _STOP_LIST]}),
]
Bias = Annotated[
    dict[int, float],
    BeforeValidator(_bias),
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": MAX_BIASES,
            "propertyNames": {"pattern": "^[0-9]{1,9}$"},
            "additionalProperties": {"type": "number", "minimum": -100, "maximum": 100},
        }
    ),
]
_PART = {
    "type": "object",
    "properties": {"type": {"const": "text"}, "text": _STRING},
    "required": ["type", "text"],
}
Content = Annotated[
    str,
    BeforeValidator(_content),
    WithJsonSchema({"anyOf": [_STRING, {"type": "array", "items": _PART, "maxItems": MAX_PARTS}]}),
]
ShortText = Annotated[str, StringConstraints(max_length=256)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


class StreamOptions(_Strict):
    """``include_usage``: one more chunk with the token counts, before ``[DONE]``."""

    include_usage: bool = False


class ResponseFormat(_Strict):
    """Only plain text: a schema that would be ignored is refused instead."""

    type: Literal["text"] = "text"


class Message(_Strict):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Content = ""


class Sampling(_Strict):
    """What both completion endpoints share; None: the model's own default."""

    model: ShortText | None = None
    n: int = Field(1, ge=1, le=MAX_CHOICES)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=0, le=1_000_000)
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, gt=0, le=10)
    presence_penalty: float = Field(0.0, ge=-2, le=2)
    frequency_penalty: float = Field(0.0, ge=-2, le=2)
    logit_bias: Bias = Field(default_factory=dict)
    seed: int | None = Field(None, ge=-_INT64, lt=_INT64)
    stop: Stop = Field(default_factory=list)
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=0, le=MAX_TOKENS)


class CompletionRequest(Sampling):
    """``POST /v1/completions``."""

    prompt: Prompt
    echo: bool = False
    logprobs: int | None = Field(None, ge=0, le=MAX_LOGPROBS)
    best_of: int | None = Field(None, ge=1, le=MAX_CHOICES)


class ChatRequest(Sampling):
    """``POST /v1/chat/completions``."""

    messages: list[Message] = Field(min_length=1, max_length=MAX_MESSAGES)
    max_tokens: int | None = Field(None, ge=1, le=MAX_TOKENS)
    max_completion_tokens: int | None = Field(None, ge=1, le=MAX_TOKENS)
    logprobs: bool = False
    top_logprobs: int | None = Field(None, ge=0, le=MAX_LOGPROBS)
    response_format: ResponseFormat | None = None

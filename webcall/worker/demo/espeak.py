"""espeak-ng, over the library that PyPI's espeakng-loader brings: text in, 16-bit samples out.

The library is one for the process and knows one text at a time. Its functions and constants are those of
espeak-ng's `speak_lib.h`.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from functools import cache

import espeakng_loader  # type: ignore[import-untyped]

from webcall.errors import WebCallError

SAMPLE_RATE = 22_050
VOICE = b"en-us"
WORDS_PER_MINUTE = 155
TEXT_LENGTH = 2_000

_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: sound comes by the callback, and no device is opened
_CHUNK_MS = 60
_DONT_EXIT = 0x8000
_RATE = 1
_CHARS_UTF8 = 1
_POSITION_CHARACTER = 1

_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
_lock = threading.Lock()


class VoiceUnavailable(WebCallError):
    """espeak-ng cannot be loaded or has no voice: is espeakng-loader installed whole?"""


def prepare() -> None:
    """Load the voice; later calls do nothing. Raises `VoiceUnavailable`."""
    with _lock:
        _library()


def speak(text: str, take: Callable[[bytes], bool]) -> None:
    """Say a text, in the calling thread; waits while another one speaks.

    `take` gets the samples (22,050 Hz, mono, 16 bits) in pieces of 60 ms at most and returns whether to go
    on. Text beyond 2,000 characters is left out. Raises `VoiceUnavailable`.
    """
    # A NUL would end the text; a lone surrogate has no UTF-8.
    encoded = text[:TEXT_LENGTH].replace("\0", " ").encode("utf-8", "ignore")

    def received(samples: int | None, count: int, _events: int | None) -> int:
        if samples and count > 0:
            return 0 if take(ctypes.string_at(samples, 2 * count)) else 1
        return 0

    callback = _CALLBACK(received)
    with _lock:
        library = _library()
        library.espeak_SetSynthCallback(callback)
        library.espeak_Synth(encoded, len(encoded) + 1, 0, _POSITION_CHARACTER, 0, _CHARS_UTF8, None, None)


@cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path()
    except (OSError, RuntimeError) as error:
        raise VoiceUnavailable(
            "espeak-ng cannot be loaded: install the package espeakng-loader again"
        ) from error
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_uint,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_uint,
        ctypes.c_void_p,
        ctypes.c_void_p,
    ]
    library.espeak_SetSynthCallback.argtypes = [_CALLBACK]
    library.espeak_SetSynthCallback.restype = None
    rate = library.espeak_Initialize(_SYNCHRONOUS, _CHUNK_MS, data.encode(), _DONT_EXIT)
    if rate != SAMPLE_RATE or library.espeak_SetVoiceByName(VOICE) != 0:
        raise VoiceUnavailable(f"espeak-ng has no voice {VOICE.decode()} in {data}")
    library.espeak_SetParameter(_RATE, WORDS_PER_MINUTE, 0)
    return library

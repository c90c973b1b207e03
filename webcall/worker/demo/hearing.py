"""pocketsphinx: samples in, one of the grammar's sentences out, or the word that there was none.

A grammar matches anything, so a second search hears the same sound as free phones (with the model's phone
bigrams, nothing of words in it): where the sentence explains the sound much worse than free phones do, or
has far fewer of them, something else was said. One pair of searches for the process, made at first use.
"""

from __future__ import annotations

import math
import re
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pocketsphinx  # type: ignore[import-untyped]

from webcall.errors import WebCallError
from webcall.worker.demo import grammar
from webcall.worker.demo.topics import NOT_UNDERSTOOD

SAMPLE_RATE = 16_000
SHORTEST_S = 0.2
LONGEST_S = 8.0

# Measured with four of espeak-ng's voices: the log likelihood that a sentence may lose to free phones, per
# frame of speech (a hundred a second) and in units of 1/10,000, by the frames; short ones vary more.
_LOSING_FRAMES, _MAY_LOSE = (80, 120, 160, 200), (35.0, 10.0, 2.0, -3.0)
_LOG_UNIT = 1e4
# A sentence with fewer phones than the speech had time for leaves something out: the most frames
# for each phone, by the frames again.
_SLOW_FRAMES, _SLOWEST = (80, 100), (20.0, 13.5)
# Fewer phones than this in what is not understood: a cough or a chair, better passed over.
_PHONES_OF_SPEECH = 4

_WINDOW, _MARGIN, _AROUND = SAMPLE_RATE // 50, SAMPLE_RATE // 10, 3 * SAMPLE_RATE // 10
_QUIET = 0.03
_PEAK, _MOST_GAIN = 18_000, 20
_FLOOR = 60

# Silence, noise and the like: `<sil>`, `[NOISE]`, `+SPN+`, and the start of `(NULL)`.
_NO_WORD = "<[+("

# Words of the phrases that the model's dictionary does not have.
_PRONOUNCED = {"livekit": "L AY V K IH T"}

_lock = threading.Lock()


class EarsUnavailable(WebCallError):
    """pocketsphinx cannot be loaded, or its model does not know a word of the grammar."""


def prepare() -> None:
    """Load the model and the grammar; later calls do nothing. Raises `EarsUnavailable`."""
    with _lock:
        _ears()


def hear(samples: np.ndarray[Any, np.dtype[np.int16]]) -> str:
    """Return what is said in 16-bit samples of 16,000 Hz: a sentence of the grammar, `NOT_UNDERSTOOD` for
    other speech, and an empty text where nothing like speech is.

    Blocks, and mostly holds the interpreter's lock, for some 0.1 s for each second of sound: an event loop
    in the same process halts that long at the end of an utterance. Raises `EarsUnavailable`.
    """
    length_s = len(samples) / SAMPLE_RATE
    if length_s < SHORTEST_S:
        return ""
    if length_s > LONGEST_S:
        return NOT_UNDERSTOOD
    sound = _prepared(samples)
    with _lock:
        ears = _ears()
        words, score = ears.sentences.search(sound)
        phones, free_score = ears.phones.search(sound)
        expected = sum(len((ears.sentences.decoder.lookup_word(one.word) or "").split()) for one in words)
    if not phones:
        return ""
    said = " ".join(one.word.partition("(")[0] for one in words)
    # Not the whole sound: how much silence a VAD leaves around the words is its own affair.
    frames = phones[-1].end_frame - phones[0].start_frame + 1
    lost = _LOG_UNIT * (free_score - score) / frames
    near = lost < np.interp(frames, _LOSING_FRAMES, _MAY_LOSE)
    if near and frames < expected * np.interp(frames, _SLOW_FRAMES, _SLOWEST) and ears.whole.fullmatch(said):
        return said
    return NOT_UNDERSTOOD if len(phones) >= _PHONES_OF_SPEECH else ""


def _prepared(samples: np.ndarray[Any, np.dtype[np.int16]]) -> bytes:
    """Return the sound as the decoder hears it best: of one loudness, with a fixed silence around it.

    The model's features are relative to the mean of the whole sound, so the silence that a VAD leaves would
    change them; and digital silence, which has no logarithm, spoils them: a little noise goes everywhere.
    """
    sound = samples.astype(np.float64)
    loudness = np.sqrt(np.convolve(sound**2, np.full(_WINDOW, 1 / _WINDOW), mode="same"))
    speech = np.flatnonzero(loudness > _QUIET * loudness.max())
    if len(speech):
        sound = sound[max(speech[0] - _MARGIN, 0) : speech[-1] + _MARGIN]
        sound = sound * min(_PEAK / max(np.abs(sound).max(), 1), _MOST_GAIN)
    padded = np.pad(sound, _AROUND)
    padded += np.random.default_rng(0).normal(scale=_FLOOR, size=len(padded))
    return np.clip(padded, -32768, 32767).astype(np.int16).tobytes()


@dataclass(frozen=True, slots=True)
class _Search:
    decoder: Any

    def search(self, sound: bytes) -> tuple[list[Any], float]:
        """Return the segments of the best words or phones, and their log likelihood."""
        self.decoder.start_utt()
        self.decoder.process_raw(sound, full_utt=True)
        self.decoder.end_utt()
        found = self.decoder.hyp()
        if found is None or found.best_score <= 0:
            return [], -math.inf
        segments = [one for one in self.decoder.seg() if one.word[0] not in _NO_WORD and one.word != "SIL"]
        return segments, math.log(found.best_score)


@dataclass(frozen=True, slots=True)
class _Ears:
    sentences: _Search
    phones: _Search
    whole: re.Pattern[str]


@cache
def _ears() -> _Ears:
    try:
        model = Path(pocketsphinx.get_model_path("en-us"))
        # Without the dictionary's 135,000 words: the grammar needs some two hundred of them.
        common = {"hmm": str(model / "en-us"), "lm": None, "dict": None, "loglevel": "FATAL"}
        sentences = pocketsphinx.Decoder(**common)
        for word, phones in _pronunciations(model / "cmudict-en-us.dict"):
            sentences.add_word(word, phones, False)
        sentences.add_jsgf_string("sentences", grammar.jsgf())
        sentences.activate_search("sentences")
        free = pocketsphinx.Decoder(**common)
        free.add_allphone_file("phones", str(model / "en-us-phone.lm.bin"))
        free.activate_search("phones")
    except (OSError, RuntimeError, ValueError) as error:
        raise EarsUnavailable(
            "pocketsphinx or its model cannot be loaded: install pocketsphinx again"
        ) from error
    return _Ears(_Search(sentences), _Search(free), grammar.whole())


def _pronunciations(dictionary: Path) -> list[tuple[str, str]]:
    wanted = grammar.words()
    found = list(_PRONOUNCED.items())
    with dictionary.open(encoding="utf-8") as lines:
        for line in lines:
            word, _, phones = line.strip().partition(" ")
            # Further ways to say a word are `the(2)`.
            if word.partition("(")[0] in wanted:
                found.append((word, phones))
    if missing := wanted - {word for word, _ in found}:
        raise EarsUnavailable(f"no pronunciation for: {', '.join(sorted(missing))}")
    return found

"""The loop of `sonoseg watch`: asks for new images, segments them, stores the results, notes how far it is."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from sonoseg.dicom.header import SECONDARY_CAPTURE, ULTRASOUND, NotUltrasound
from sonoseg.dicom.objects import Objects, segment_to_objects
from sonoseg.dicom.options import Options
from sonoseg.dicom.read import read_dicom
from sonoseg.errors import InputError, MachineError, counted, visible
from sonoseg.reader.segmenter import Segmenter
from sonoseg.temporary import forget, temporary_name
from sonoseg.watch.feed import Feed
from sonoseg.watch.transport import (
    TAKES_NOTHING,
    TOO_LARGE,
    Refusal,
    ServerFailure,
    Unreachable,
)

_logger = logging.getLogger(__name__)
_KINDS = ULTRASOUND.keys() | SECONDARY_CAPTURE.keys()
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0
_TRIES = 3
"""How often an instance is asked for that the server does not deliver."""
_RETRY_SECONDS = 3600.0
"""After how long without work all instances are listed again."""


class _Unstored(InputError):
    """The server refuses a result of one image."""


class _Undelivered(Unreachable):
    """The server lists an image, and does not deliver it now."""


@dataclass
class Counts:
    """What happened to the instances.

    Attributes:
        segmented: whose results are stored.
        failed: that could not be read, or whose results were refused.
        others: that are no ultrasound images.
    """

    segmented: int = 0
    failed: int = 0
    others: int = 0


class Watcher:
    """Segments the new images of a server.

    An image is noted only after its results are stored. When the program is killed between the two, the image is
    segmented again. The results have the same UIDs then, so that nothing is stored twice.

    Args:
        feed: the server.
        segmenter: the network.
        options: of the objects that are written.
        sleep: waits for some seconds.
    """

    def __init__(
        self,
        feed: Feed,
        segmenter: Segmenter,
        options: Options,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.counts = Counts()
        self._feed, self._segmenter, self._options = feed, segmenter, options
        self._sleep = sleep
        self._wait = 0.0
        self._is_checked = False
        self._failures: dict[str, int] = {}
        self._passed: set[str] = set()
        self._idle = 0.0

    def run(self, once: bool = False) -> None:
        """Handles new images until the process is stopped.

        Args:
            once: return when there are no more, and do not wait for a server that cannot be reached.

        Raises:
            InputError: the server refuses the calls or takes no results, or the state cannot be written; with `once`
                also: the server cannot be reached.
        """
        while True:
            try:
                has_more = self.step()
            except Unreachable as error:
                self._is_checked = False
                if once and not self._may_recover(error):
                    hint = "start it, and run the same command again"
                    raise MachineError(self._url, f"{error}", hint) from error
                self._wait_for_server(error)
                continue
            except Refusal as error:
                raise self._refused(error) from error
            if self._wait:
                _logger.warning("sonoseg: %s: it works again", self._url)
                self._wait = 0.0
            if not has_more:
                if once:
                    return
                self._rest()

    def step(self) -> bool:
        """Handles the next instances; returns whether there may be more.

        Raises:
            Unreachable: the server does not work now. What was handled is noted.
            Refusal: the server refuses to list its instances.
        """
        if not self._is_checked:
            warning = self._feed.begin()
            if warning:
                _logger.warning("sonoseg: %s: %s", self._url, warning)
            self._is_checked = True
        instances = self._feed.next()
        for instance in instances or []:
            if instance in self._passed:
                continue
            if self._handle(instance):
                self._feed.finish(instance)
            else:
                self._passed.add(instance)
        return instances is not None

    @property
    def _url(self) -> str:
        return self._feed.url

    def _handle(self, instance: str) -> bool:
        """Segments one instance and stores the results. What cannot be read is logged in one line.

        Returns:
            whether it is done with; False if it is not to be noted, so that the next process may try again.
        """
        is_done = True
        try:
            kind = self._feed.kind(instance)
            if kind and kind not in _KINDS:
                self.counts.others += 1
                return True
            objects = self._segment(instance)
        except NotUltrasound:
            self.counts.others += 1
        except MachineError:
            raise
        except InputError as error:
            self._pass_over(instance, f"{error.problem}; {error.hint}")
            is_done = not isinstance(error, _Unstored)
        except (_Undelivered, ServerFailure, Refusal) as error:
            if isinstance(error, Refusal) and error.is_general:
                raise
            self._count(instance, error)
            is_done = False
        else:
            self.counts.segmented += 1
            _log_result(instance, objects)
        self._failures.pop(instance, None)
        return is_done

    def _count(self, instance: str, error: Exception) -> None:
        """Raises `_Undelivered` until an instance was asked for often enough, then passes it over."""
        # The instances are listed again before each try: a server that is down is not counted.
        tries = self._failures.get(instance, 0) + 1
        self._failures[instance] = tries
        if tries < _TRIES:
            raise _Undelivered(str(error)) from error
        self._pass_over(instance, f"{error}; see the server's log")
        self._wait = 0.0  # the others are not held up longer

    def _segment(self, instance: str) -> Objects:
        """Stores SEG and SR of an instance, and returns them."""
        # Beside the state: what a killed process leaves there is removed by the next one.
        path = self._feed.folder / temporary_name(".dcm")
        try:
            try:
                self._feed.download(instance, path)
            except Unreachable as error:
                raise _Undelivered(str(error)) from error
            file = read_dicom(path)
            objects = segment_to_objects(self._segmenter, file, self._options)
        finally:
            path.unlink(missing_ok=True)
            forget(path)
        if objects.seg is not None:
            self._store("SEG", objects.seg)
        self._store("SR", objects.report)
        return objects

    def _store(self, name: str, content: bytes) -> None:
        try:
            self._feed.store(content)
        except ServerFailure as error:  # such as a full disk: it is waited for
            raise Unreachable(str(error)) from error
        except Refusal as error:
            if error.is_general:
                raise
            if error.status in TAKES_NOTHING:
                problem = f"does not take results ({error})"
                hint = "let it store DICOM, and run the same command again"
                raise MachineError(self._url, problem, hint) from error
            problem = f"its {name} was not stored ({error})"
            hint = "see the server's log"
            if error.status == TOO_LARGE:
                problem = f"its {name} is too large ({error})"
                hint = "let the server take larger files"
            raise _Unstored(self._url, problem, hint) from error

    def _pass_over(self, instance: str, reason: str) -> None:
        self.counts.failed += 1
        _logger.warning("sonoseg: instance %s: %s", instance, visible(reason))

    def _may_recover(self, error: Unreachable) -> bool:
        """Whether to ask again although nobody waits: the server works, and fails at one image or call."""
        if isinstance(error, _Undelivered):
            return True
        return isinstance(error, ServerFailure) and self._wait < _TRIES - 1

    def _rest(self) -> None:
        """Waits for new images. After long enough, all are listed again, and those that were passed over are tried.

        A feed may overlook an image that takes the place of another one.
        """
        self._sleep(self._feed.POLL_SECONDS)
        self._idle += self._feed.POLL_SECONDS
        if self._idle >= _RETRY_SECONDS:
            self._idle = 0.0
            self._passed.clear()
            self._is_checked = False

    def _wait_for_server(self, error: Unreachable) -> None:
        """Waits, each time twice as long as before."""
        if not self._wait:
            _logger.warning("sonoseg: %s: %s; waiting for it", self._url, error)
        self._wait = min(max(_FIRST_WAIT, 2 * self._wait), _LONGEST_WAIT)
        self._sleep(self._wait)

    def _refused(self, error: Refusal) -> InputError:
        if error.status in (401, 403, 407):
            hint = "give http://USER:PASSWORD@HOST, or change the rights of the user"
            return InputError(self._url, "does not let sonoseg in", hint)
        return InputError(self._url, str(error), self._feed.HINT)


def _log_result(instance: str, objects: Objects) -> None:
    """Logs how many lesions there are; with the doubts as a warning, if there are any."""
    words = f"{counted(objects.lesions, 'lesion')}, results stored"
    if not objects.doubts:
        _logger.info("sonoseg: %s: %s", instance, words)
        return
    doubts = "; ".join(objects.doubts)
    _logger.warning(
        "sonoseg: %s: %s; do not trust this: %s", instance, words, visible(doubts)
    )

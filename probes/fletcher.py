"""HDF5's checksum of many chunks at once, without its byte-by-byte loop.

HDF5 adds up 16-bit words one after the other: s1 = sum of w[i] and s2 = sum of (n - i) w[i],
both modulo 65535. We read four words at a time as one 64-bit integer x. Modulo 65535 a word
in a higher place counts as itself, since 2**16 = 1; so x stands for the sum of its four words,
and sums over rows and columns of a table of x give both s1 and s2. The bytes of a word are
swapped in the end by one multiplication, since 256 * 256 = 1 as well.

Reference:
    H5_checksum_fletcher32 in HDF5's src/H5checksum.c.
"""

import numpy as np
from jaxtyping import UInt8, UInt32

COLUMNS = 1024
"""64-bit integers in a row of the table: a row of four-word sums stays below 2**32."""
_MODULUS = 65535
_P = np.uint64(_MODULUS)
_HALF = np.uint64(32)
_WORD = np.uint64(16)
_LOW = np.uint64(0xFFFFFFFF)
_EVEN = np.uint64(0x0000FFFF0000FFFF)
_ROW_BYTES = 8 * COLUMNS


class Fletcher32:
    """Checksums of chunks of one size; each chunk is read when it is added, while it is warm."""

    def __init__(self, chunks: int, size_bytes: int) -> None:
        """Make room for the sums of some chunks.

        Args:
            chunks: How many will be added.
            size_bytes: Size of each, without its checksum.
        """
        self._size = size_bytes
        self._rows = rows = size_bytes // _ROW_BYTES
        self._high = np.empty((rows, COLUMNS), np.uint64)
        self._columns = np.zeros((2, chunks, COLUMNS), np.uint64)  # of x, and of its upper half
        self._lines = np.zeros((3, chunks, rows), np.uint64)  # the same, and of words 0 and 2
        self._tail = np.zeros((2, chunks), np.int64)  # sum, and sum weighted by place

    def add(self, place: int, chunk: UInt8[np.ndarray, " size"]) -> None:
        """Sum up one chunk; sums of 64-bit integers may wrap, their upper halves do not.

        Args:
            place: Which of the chunks this is, from 0.
            chunk: Its bytes; quickest where they start at a multiple of 8.
        """
        cut = self._rows * _ROW_BYTES
        if cut:
            x, high = chunk[:cut].view(np.uint64).reshape(self._rows, COLUMNS), self._high
            add = np.add.reduce
            np.right_shift(x, _HALF, out=high)
            add(x, axis=0, out=self._columns[0, place])
            add(high, axis=0, out=self._columns[1, place])
            add(x, axis=1, out=self._lines[0, place])
            add(high, axis=1, out=self._lines[1, place])
            np.bitwise_and(x, _EVEN, out=high)
            add(high, axis=1, out=self._lines[2, place])
        if cut < self._size:
            rest = chunk[cut:] if self._size % 2 == 0 else np.append(chunk[cut:], np.uint8(0))
            words = rest.view("<u2").astype(np.int64)
            self._tail[:, place] = words.sum(), words @ np.arange(cut // 2, cut // 2 + words.size)

    def checksums(self) -> UInt32[np.ndarray, " chunk"]:
        """Return what HDF5 would store behind each chunk, as the integer it writes."""
        total, weighted = self._sums()
        words = (self._size + 1) // 2
        first = total % _MODULUS
        second = (words % _MODULUS * first - weighted) % _MODULUS
        # End-around carries leave 65535, not 0, except where every byte is 0.
        s1, s2 = ((256 * s - 1) % _MODULUS + 1 for s in (first, second))
        return np.where(total == 0, 0, s2 << 16 | s1).astype(np.uint32)

    def _sums(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the exact sum of all words, and the sum weighted by place modulo 65535."""
        (column, column_high), (line, line_high, even) = self._columns, self._lines
        low, column_low = line - (line_high << _HALF), column - (column_high << _HALF)
        of_lines = (low % _P + line_high % _P).astype(np.int64)
        of_columns = (column_low % _P + column_high % _P).astype(np.int64)
        w0, w2 = even & _LOW, even >> _HALF
        w1, w3 = (low - w0) >> _WORD, (line_high - w2) >> _WORD
        by_place = [part.sum(axis=1).astype(np.int64) for part in (w0, w1, w2, w3)]
        inside = by_place[1] + 2 * by_place[2] + 3 * by_place[3]
        table = COLUMNS * (of_lines @ np.arange(self._rows)) + of_columns @ np.arange(COLUMNS)
        total: np.ndarray = sum(by_place) + self._tail[0]
        return total, (4 * table + inside + self._tail[1]) % _MODULUS

/* Finds octets in a block, such as line ends, and joins its records with printed predictions: NumPy and pyarrow take longer for that.

   number_kernel.py calls this through ctypes. */

#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* Return which of the next 64 bytes are an octet, the first one in the lowest bit. */
static inline uint64_t places_of(const uint8_t *at, uint8_t octet) {
    uint64_t places = 0;
#ifdef __SSE2__
    const __m128i wanted = _mm_set1_epi8((char)octet);
    for (int part = 0; part < 4; part++) {
        const __m128i bytes = _mm_loadu_si128((const __m128i *)(at + 16 * part));
        places |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, wanted)) << 16 * part;
    }
#else
    for (int part = 0; part < 8; part++) {
        uint64_t word;
        memcpy(&word, at + 8 * part, sizeof word);
        const uint64_t others = word ^ octet * UINT64_C(0x0101010101010101);
        const uint64_t low = UINT64_C(0x7f7f7f7f7f7f7f7f), marks = ~(((others & low) + low) | others | low);
        places |= (marks >> 7) * UINT64_C(0x0102040810204080) >> 56 << 8 * part; /* the highest bits, side by side */
    }
#endif
    return places;
}

/* Write where an octet is in [first, stop), and return how often; there must be room for as many places as there are bytes. */
int find_octet(const uint8_t *data, int64_t first, int64_t stop, int octet, int32_t *found) {
    int count = 0;
    for (; first < stop; first += 64) {
        uint64_t places;
        if (stop - first >= 64) {
            places = places_of(data + first, (uint8_t)octet);
        } else {
            uint8_t last[64] = {0};
            memcpy(last, data + first, (size_t)(stop - first));
            places = places_of(last, (uint8_t)octet) & ((UINT64_C(1) << (stop - first)) - 1);
        }
        for (; places; places &= places - 1) {
            found[count++] = (int32_t)(first + __builtin_ctzll(places));
        }
    }
    return count;
}

typedef struct {
    const uint8_t *octets;
    const int32_t *offsets; /* text i is [offsets[i], offsets[i + 1]) */
} texts;

/* Write the first texts of all columns, then the second ones, and so on; there must be room for all. */
void join_texts(const texts *columns, int64_t n_columns, int64_t rows, uint8_t *joined) {
    for (int64_t row = 0; row < rows; row++) {
        for (int64_t column = 0; column < n_columns; column++) {
            const int32_t first = columns[column].offsets[row];
            const size_t size = (size_t)(columns[column].offsets[row + 1] - first);
            memcpy(joined, columns[column].octets + first, size);
            joined += size;
        }
    }
}

/* The loops of a load that look at every byte or every row of the dump. scan.py calls them; Python's lock is not held.
 *
 * A block is its bytes and, row after row, where each of its fields ends: at a tab or, the last of a row, at a line
 * feed. Field k of the block therefore starts behind the end of field k - 1. What is read beyond a field lies within
 * the bytes that every block has to spare.
 */
#include <stdint.h>
#include <string.h>

enum { GROUP = 64, GROUPS = 128 };

/* Where a block's field k starts. */
static int32_t start_of(const int32_t *ends, int64_t k) { return k ? ends[k - 1] + 1 : 0; }

int64_t count_lines(const uint8_t *content, int64_t size)
{
    int64_t lines = 0, at = 0;
    /* Many small counters side by side: compilers turn this into vector instructions. */
    for (; at + GROUP * GROUPS <= size; at += GROUP * GROUPS) {
        uint8_t found[GROUP] = {0};
        for (int group = 0; group < GROUPS; group++)
            for (int j = 0; j < GROUP; j++)
                found[j] += content[at + group * GROUP + j] == '\n';
        for (int j = 0; j < GROUP; j++)
            lines += found[j];
    }
    for (; at < size; at++)
        lines += content[at] == '\n';
    return lines;
}

/* One bit for each of 64 bytes, the first in the lowest: whether it ends a field. */
static uint64_t ends_among(const uint8_t *content)
{
    uint8_t is_end[GROUP];
    uint64_t bits = 0;
    for (int j = 0; j < GROUP; j++)
        is_end[j] = (content[j] == '\t') | (content[j] == '\n');
    for (int j = 0; j < 8; j++) {
        uint64_t eight = 0;
        for (int k = 0; k < 8; k++) /* one load where bytes are in that order */
            eight |= (uint64_t)is_end[8 * j + k] << 8 * k;
        bits |= (eight * 0x0102040810204080u) >> 56 << 8 * j;
    }
    return bits;
}

/* Find where the fields of whole lines end. Returns whether every line has `fields` of them. */
int64_t find_ends(const uint8_t *content, int64_t size, int64_t lines, int64_t fields, int32_t *ends)
{
    int64_t expected = lines * fields, found = 0, at = 0;
    for (; at + GROUP <= size && found + GROUP <= expected; at += GROUP)
        for (uint64_t bits = ends_among(content + at); bits; bits &= bits - 1)
            ends[found++] = (int32_t)(at + __builtin_ctzll(bits));
    for (; at < size; at++)
        if (content[at] == '\t' || content[at] == '\n') {
            if (found == expected)
                return 0;
            ends[found++] = (int32_t)at;
        }
    if (found != expected)
        return 0;
    for (int64_t line = 1; line <= lines; line++)
        if (content[ends[line * fields - 1]] != '\n')
            return 0;
    return 1; /* so many line feeds as there are, each where a line should end */
}

/* Which rows hold a text in a column. */
void same_text(const uint8_t *content, const int32_t *ends, int64_t rows, int64_t fields, int64_t column,
               const char *text, int64_t length, uint8_t *same)
{
    for (int64_t row = 0; row < rows; row++) {
        int64_t k = row * fields + column, start = start_of(ends, k);
        same[row] = ends[k] - start == length && !memcmp(content + start, text, (size_t)length);
    }
}

/* Read numbers of at most 16 digits from a column of some rows, -1 where blank. Returns the first that is none, or is
 * blank though `required`; -1 where all are well. */
int64_t integers(const uint8_t *content, const int32_t *ends, int64_t count, int64_t fields, int64_t column,
                 const int64_t *rows, int64_t required, int64_t *values)
{
    for (int64_t i = 0; i < count; i++) {
        int64_t k = rows[i] * fields + column;
        int32_t start = start_of(ends, k), length = ends[k] - start;
        int64_t value = length ? 0 : -1;
        if (length > 16 || (required && !length))
            return i;
        for (const uint8_t *at = content + start, *end = at + length; at < end; at++) {
            unsigned digit = (unsigned)*at - '0';
            if (digit > 9)
                return i;
            value = value * 10 + digit;
        }
        values[i] = value;
    }
    return -1;
}

static uint64_t word(const uint8_t *from)
{
    uint64_t eight;
    memcpy(&eight, from, 8);
    return eight | 0x2020202020202020u; /* capitals become small letters; digits and hyphens have this bit set */
}

/* Make a 64-bit key of each UUID of a column, of all its digits. Returns the first row that has not the 36 characters
 * of one; -1 where all have. */
int64_t uuid_keys(const uint8_t *content, const int32_t *ends, int64_t rows, int64_t fields, int64_t column,
                  uint64_t *keys)
{
    static const int places[] = {9, 17, 20, 28}; /* with the first, words that cover every digit */
    for (int64_t row = 0; row < rows; row++) {
        int64_t k = row * fields + column, start = start_of(ends, k);
        if (ends[k] - start != 36)
            return row;
        uint64_t key = word(content + start);
        for (int j = 0; j < 4; j++)
            key = key * 0x9E3779B97F4A7C15u + word(content + start + places[j]);
        /* The finaliser of MurmurHash3: https://github.com/aappleby/smhasher/wiki/MurmurHash3 */
        key = (key ^ key >> 33) * 0xFF51AFD7ED558CCDu;
        key = (key ^ key >> 33) * 0xC4CEB9FE1A85EC53u;
        keys[row] = key ^ key >> 33;
    }
    return -1;
}

/* Set the bits of keys; several threads may at once. */
void marks_add(uint8_t *bits, uint64_t mask, const uint64_t *keys, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        __atomic_fetch_or(bits + ((keys[i] & mask) >> 3), (uint8_t)(1 << (keys[i] & 7)), __ATOMIC_RELAXED);
}

void marks_have(const uint8_t *bits, uint64_t mask, const uint64_t *keys, int64_t count, uint8_t *found)
{
    for (int64_t i = 0; i < count; i++)
        found[i] = bits[(keys[i] & mask) >> 3] >> (keys[i] & 7) & 1;
}

/* Which keys are in a set: those whose low bits are marked and, unless a mark says it all, that stand in its sorted
 * array. */
void keys_have(const uint8_t *marks, uint64_t low, const uint64_t *sorted, int64_t size, int64_t exact,
               const uint64_t *keys, int64_t count, uint8_t *found)
{
    for (int64_t i = 0; i < count; i++)
        found[i] = marks[keys[i] & low];
    for (int64_t i = 0; i < count; i++) {
        int64_t first = 0, behind = size;
        if (!found[i])
            continue;
        while (!exact && first < behind) {
            int64_t middle = first + (behind - first) / 2;
            if (sorted[middle] < keys[i])
                first = middle + 1;
            else
                behind = middle;
        }
        found[i] = exact ? keys[i] <= low : first < size && sorted[first] == keys[i];
    }
}

/* Set the bits of ids in a page of so many bits; put those that were set already into `again`, and return how many. */
int64_t page_add(uint8_t *page, int64_t bits, const int64_t *ids, int64_t count, int64_t *again)
{
    int64_t repeated = 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t place = ids[i] & (bits - 1);
        uint8_t bit = (uint8_t)(1 << (place & 7));
        if (page[place >> 3] & bit)
            again[repeated++] = ids[i];
        page[place >> 3] |= bit;
    }
    return repeated;
}

/* Copy rows to one place, each with its line feed. */
void copy_rows(const uint8_t *content, const int32_t *ends, int64_t count, int64_t fields, const int64_t *rows,
               uint8_t *to)
{
    for (int64_t i = 0; i < count; i++) {
        int32_t start = start_of(ends, rows[i] * fields), end = ends[(rows[i] + 1) * fields - 1] + 1;
        memcpy(to, content + start, (size_t)(end - start));
        to += end - start;
    }
}

/* Which rows hold one of some ids in a column of paths, ids joined with '/'. Returns the first row that holds no path
 * of numbers of at most 18 digits; -1 where all do. */
int64_t paths_through(const uint8_t *content, const int32_t *ends, int64_t rows, int64_t fields, int64_t column,
                      const int64_t *ids, int64_t count, uint8_t *through)
{
    for (int64_t row = 0; row < rows; row++) {
        int64_t k = row * fields + column, value = 0, digits = 0, zeros = 0;
        through[row] = 0;
        for (int32_t at = start_of(ends, k); at <= ends[k]; at++) {
            unsigned digit = (unsigned)content[at] - '0';
            if (at < ends[k] && digit <= 9) {
                zeros += !digit && !digits; /* 047169 is no id */
                value = value * 10 + digit;
                if (++digits > 18)
                    return row;
            } else if (at == ends[k] || content[at] == '/') {
                for (int64_t i = 0; i < count && digits && !zeros; i++)
                    through[row] |= value == ids[i];
                value = digits = zeros = 0;
            } else {
                return row;
            }
        }
    }
    return -1;
}

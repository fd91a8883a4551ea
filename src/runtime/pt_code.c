/* pt_code.c: looks through x86-64 machine code for EVEX, the encoding of AVX-512, which is an
 * illegal instruction on CPUs without it. The byte 0x62 means that only where an instruction's
 * opcode begins, so instructions are followed by their length: what compilers put into code
 * sections is instructions from the first byte to the last.
 */
#include "runtime/pt_isa.h"

#include <elf.h>
#include <string.h>

enum { INSTRUCTION_MAX = 15 };

/* What follows each opcode of one byte, by letter:
 *   - nothing         m ModRM             b one byte          B ModRM and one byte
 *   z 4 bytes, 2 after 0x66              Z ModRM and those   w 2 bytes        e 3 bytes
 *   j 4 bytes         v 4 bytes, 2 after 0x66, 8 with REX.W  o an address
 *   f ModRM, and one byte when its middle is 0 or 1          F likewise z
 *   p a prefix        r REX             x an escape          ! not in 64-bit mode */
static const char one_byte[] =
    "mmmmbz!!mmmmbz!x" "mmmmbz!!mmmmbz!!" "mmmmbzp!mmmmbzp!" "mmmmbzp!mmmmbzp!"
    "rrrrrrrrrrrrrrrr" "----------------" "!!xmpppp" "zZbB----" "bbbbbbbbbbbbbbbb"
    "BZ!Bmmmmmmmmmmmx" "----------!-----" "oooo----" "bz------" "bbbbbbbbvvvvvvvv"
    "BBw-xxBZ" "e-w--b!-" "mmmm!!!-mmmmmmmm" "bbbbbbbbjj!b----" "p-pp--fF------mm";
_Static_assert(sizeof one_byte == 257, "one letter for each opcode");

/* The same for those after 0x0f. */
static const char two_bytes[] =
    "mmmm!-----!-!m-B" "mmmmmmmmmmmmmmmm" "mmmm!!!!mmmmmmmm" "------!-xxx!!!!!"
    "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm" "BBBBmmm-mmmmmmmm"
    "jjjjjjjjjjjjjjjj" "mmmmmmmmmmmmmmmm" "---mBm!!---mBmmm" "mmmmmmmmmmBmmmmm"
    "mmBmBBBm--------" "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm";
_Static_assert(sizeof two_bytes == 257, "one letter for each opcode");

struct at {
    const uint8_t *code;
    size_t size, position;   /* position <= size */
    int wide, narrow, short_address; /* REX.W, 0x66, 0x67 */
    int leaves;              /* the last instruction called, jumped or returned */
};

static int next(struct at *a)
{
    return a->position < a->size ? a->code[a->position++] : -1;
}

static int skip(struct at *a, size_t bytes)
{
    if (bytes > a->size - a->position)
        return -1;
    a->position += bytes;
    return 0;
}

/* ModRM, the SIB byte and the displacement. Returns ModRM or -1. */
static int skip_operand(struct at *a)
{
    int modrm = next(a), mod = modrm >> 6, base = modrm & 7;
    if (modrm < 0 || mod == 3)
        return modrm;
    if (base == 4) {
        int sib = next(a);
        if (sib < 0)
            return -1;
        base = (sib & 7) == 5 ? 5 : 4;
    }
    size_t displacement = mod == 1 ? 1 : mod == 2 || base == 5 ? 4 : 0;
    return skip(a, displacement) ? -1 : modrm;
}

static int skip_rest(struct at *a, char letter)
{
    size_t z = a->narrow ? 2 : 4;
    int modrm = strchr("mBZfF", letter) ? skip_operand(a) : 0;
    int extra = modrm >= 0 && (modrm >> 3 & 7) < 2;
    if (modrm < 0)
        return -1;
    switch (letter) {
    case 'b': case 'B': return skip(a, 1);
    case 'z': case 'Z': return skip(a, z);
    case 'w':           return skip(a, 2);
    case 'e':           return skip(a, 3);
    case 'j':           return skip(a, 4);
    case 'v':           return skip(a, a->wide ? 8 : z);
    case 'o':           return skip(a, a->short_address ? 4 : 8);
    case 'f':           return skip(a, extra ? 1 : 0);
    case 'F':           return skip(a, extra ? z : 0);
    case '-': case 'm': return 0;
    default:            return -1;
    }
}

/* VEX, EVEX and XOP: the opcode, of a map, with ModRM but for one (vzeroupper). */
static int skip_vector(struct at *a, int map)
{
    int opcode = next(a);
    if (opcode < 0 || (map == 1 && opcode == 0x77))
        return opcode < 0 ? -1 : 0;
    int has_byte = map == 3 || map == 8 || (map == 1 && two_bytes[opcode] == 'B');
    if (skip_operand(a) < 0)
        return -1;
    return skip(a, map == 10 ? 4 : has_byte ? 1 : 0);
}

static int skip_escape(struct at *a)
{
    int opcode = next(a);
    if (opcode < 0)
        return -1;
    char letter = two_bytes[opcode];
    if (letter != 'x')
        return skip_rest(a, letter);
    /* 0x38: no byte follows the operand; 0x3a: one does */
    if (opcode == 0x39 || next(a) < 0)
        return -1;
    return skip_rest(a, opcode == 0x38 ? 'm' : 'B');
}

/* Its bits that are always the same tell it from a byte that only looks like one. */
static int skip_evex(struct at *a)
{
    int first = next(a), second = next(a), map = first & 7;
    int sound = first >= 0 && second >= 0 && !(first & 8) && (second & 4) &&
                ((map >= 1 && map <= 3) || map == 5 || map == 6);
    return !sound || skip(a, 1) ? -1 : skip_vector(a, map);
}

/* Calls too: what does not return may be the last of a function. */
static int is_leaving(const struct at *a, int opcode)
{
    int second = a->position < a->size ? a->code[a->position] : -1;
    return opcode == 0xe8 || opcode == 0xe9 || opcode == 0xeb || opcode == 0xc3 ||
           opcode == 0xff || opcode == 0xf4 || (opcode == 0x0f && second == 0x0b);
}

/* After the opcode's first byte; *evex is set for that encoding. */
static int skip_opcode(struct at *a, int opcode, int *evex)
{
    int second;
    a->leaves = is_leaving(a, opcode);
    switch (opcode) {
    case 0x0f:
        return skip_escape(a);
    case 0x62:
        *evex = 1;
        return skip_evex(a);
    case 0xc4:
        second = next(a);
        return second < 0 || skip(a, 1) ? -1 : skip_vector(a, second & 31);
    case 0xc5:
        return skip(a, 1) ? -1 : skip_vector(a, 1);
    case 0x8f:
        if (a->position < a->size && (a->code[a->position] & 31) < 8)
            return skip_rest(a, 'm'); /* pop */
        second = next(a);
        return second < 0 || skip(a, 1) ? -1 : skip_vector(a, second & 31);
    default:
        return skip_rest(a, one_byte[opcode]);
    }
}

static int skip_instruction(struct at *a, int *evex)
{
    size_t begin = a->position;
    int opcode = next(a);
    a->wide = a->narrow = a->short_address = 0;
    *evex = 0;
    while (opcode >= 0 && (one_byte[opcode] == 'p' || one_byte[opcode] == 'r')) {
        a->narrow |= opcode == 0x66;
        a->short_address |= opcode == 0x67;
        a->wide = one_byte[opcode] == 'r' && (opcode & 8);
        if (a->position - begin >= INSTRUCTION_MAX)
            return -1;
        opcode = next(a);
    }
    return opcode < 0 ? -1 : skip_opcode(a, opcode, evex);
}

long pt_isa_count_evex(const uint8_t *code, size_t size)
{
    struct at a = {.code = code, .size = size};
    long count = 0;
    while (a.position < a.size) {
        int evex;
        if (a.leaves && !code[a.position]) { /* between functions there may be zeros */
            a.position++;
            continue;
        }
        if (skip_instruction(&a, &evex))
            return -1;
        count += evex;
    }
    return count;
}

static int is_program(const Elf64_Ehdr *h, size_t size)
{
    return !memcmp(h->e_ident, ELFMAG, SELFMAG) && h->e_ident[EI_CLASS] == ELFCLASS64 &&
           h->e_machine == EM_X86_64 && h->e_shentsize == sizeof(Elf64_Shdr) && h->e_shnum &&
           h->e_shoff < size && h->e_shnum <= (size - h->e_shoff) / sizeof(Elf64_Shdr);
}

long pt_isa_count_program(const uint8_t *elf, size_t size)
{
    Elf64_Ehdr h;
    long count = 0;
    if (size < sizeof h)
        return -1;
    memcpy(&h, elf, sizeof h);
    if (!is_program(&h, size))
        return -1;
    for (size_t i = 0; i < h.e_shnum; i++) {
        Elf64_Shdr s;
        memcpy(&s, elf + h.e_shoff + i * sizeof s, sizeof s);
        if (s.sh_type != SHT_PROGBITS || !(s.sh_flags & SHF_EXECINSTR))
            continue;
        if (s.sh_offset > size || s.sh_size > size - s.sh_offset)
            return -1;
        long found = pt_isa_count_evex(elf + s.sh_offset, s.sh_size);
        if (found < 0)
            return -1;
        count += found;
    }
    return count;
}

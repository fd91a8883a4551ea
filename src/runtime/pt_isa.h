/* pt_isa.h: whether this CPU can run a compiled package, found out before anything of it runs. */
#ifndef WATTLE_RUNTIME_PT_ISA_H
#define WATTLE_RUNTIME_PT_ISA_H

#include "base/error.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* Holds what the package says it was built for (AOTI_MACHINE, AOTI_CPU_ISA, AOTI_DEVICE_KEY)
 * against this machine and the provider. */
int pt_isa_check(json_t *metadata, const char *provider, struct error *e);

/* What a package says of itself can be wrong: the compiler's -march is set apart from it. So where
 * the CPU lacks AVX-512 the code itself is looked through for such instructions, in the program of
 * that descriptor. *checked tells for the record what was done. */
int pt_isa_check_code(int fd, size_t bytes, const char *isa, const char **checked, struct error *e);

/* How many instructions of AVX-512's encoding (EVEX) are in x86-64 code, all of it; -1 when it
 * cannot be followed from instruction to instruction. */
long pt_isa_count_evex(const uint8_t *code, size_t size);
/* The same of all executable sections of an ELF file; -1 also when it is none, or another CPU's. */
long pt_isa_count_program(const uint8_t *elf, size_t size);

/* Says on stderr what an illegal instruction means, before the process dies of it. */
void pt_isa_explain_faults(const char *model, const char *isa);
void pt_isa_forget_faults(void);

#endif

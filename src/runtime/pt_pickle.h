/* pt_pickle.h: what a pickle of TorchScript's says of the storages beside it. PyTorch makes a
 * storage as long as the pickle says, of a member of any length, and tensors of any extent in it:
 * what is beyond is other memory of the process. Nothing of the pickle is run here.
 */
#ifndef WATTLE_RUNTIME_PT_PICKLE_H
#define WATTLE_RUNTIME_PT_PICKLE_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* The storage `key` is said to have so many bytes; what is not 0 ends the reading. */
typedef int pt_claim(void *target, const char *key, uint64_t bytes, struct error *e);

/* ERROR_FORMAT when it is no pickle that TorchScript reads, or has a tensor beyond its storage. */
int pt_pickle_claims(const unsigned char *bytes, size_t size, pt_claim *claim, void *target,
                     struct error *e);

#endif

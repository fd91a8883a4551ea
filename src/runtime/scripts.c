#include "runtime/scripts.h"

#include "base/file.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>
#include <unistd.h>

/* Made by tools/embed; a NULL name ends it. */
struct script {
    const char *name, *text;
    size_t size;
};
extern const struct script script_table[];

enum { HASH_SHOWN = 12 };

const char *script_text(const char *name, size_t *size)
{
    for (const struct script *s = script_table; s->name; s++)
        if (!strcmp(s->name, name)) {
            *size = s->size;
            return s->text;
        }
    return NULL;
}

/* Names, lengths and contents of all of them. */
static int hash_all(char hex[HASH_SHOWN + 1], struct error *e)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int sound = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL);
    for (const struct script *s = script_table; sound && s->name; s++)
        sound = EVP_DigestUpdate(context, s->name, strlen(s->name) + 1) &&
                EVP_DigestUpdate(context, &s->size, sizeof s->size) &&
                EVP_DigestUpdate(context, s->text, s->size);
    sound = sound && EVP_DigestFinal_ex(context, digest, NULL);
    EVP_MD_CTX_free(context);
    for (size_t i = 0; sound && i < HASH_SHOWN / 2; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    return sound ? 0 : error_memory(e);
}

static int write_script(const struct script *s, const char *folder, struct error *e)
{
    char path[PATH_MAX], parent[PATH_MAX];
    struct file_atomic f;
    int result = file_join(path, folder, s->name, e);
    if (result || !access(path, F_OK))
        return result;
    snprintf(parent, sizeof parent, "%s", path);
    *strrchr(parent, '/') = '\0';
    result = file_make_folder(parent, e);
    if (!result)
        result = file_atomic_open(&f, path, e);
    if (result)
        return result;
    if (fwrite(s->text, 1, s->size, f.stream) != s->size) {
        file_atomic_abort(&f);
        return error_errno(e, errno ? errno : EIO, "cannot write '%s'", path);
    }
    return file_atomic_commit(&f, e);
}

int script_path(const char *name, char out[PATH_MAX], struct error *e)
{
    char home[PATH_MAX], folder[PATH_MAX], hex[HASH_SHOWN + 1];
    size_t size;
    if (!script_text(name, &size))
        return error_set(e, ERROR_UNSUPPORTED, "this wattle has no script '%s'", name);
    int result = hash_all(hex, e);
    if (!result)
        result = file_home(home, e);
    if (!result)
        result = file_join(folder, home, "scripts", e);
    if (!result)
        result = file_join(home, folder, hex, e);
    for (const struct script *s = script_table; s->name && !result; s++)
        result = write_script(s, home, e);
    return result ? result : file_join(out, home, name, e);
}

/*
 * fuzz.h
 *		Fuzzers of everything that reads bytes or text from elsewhere; see README.md.
 *
 * A target gets an input and reads it with the code that the extension reads it with. An ordinary error is an answer;
 * findings are: whatever AddressSanitizer or UndefinedBehaviorSanitizer reports, an assertion, an internal error of ours
 * (SQLSTATE XX000), a leak that the resource owner tells of, a hang, and fuzz_check() that does not hold.
 */
#ifndef REPLICATION_PLUGIN_FUZZ_H
#define REPLICATION_PLUGIN_FUZZ_H

#include "lib/stringinfo.h"

#include "base/compat.h"

/* What is left of an input. */
typedef struct FuzzInput
{
	const uint8 *data;
	size_t		size;
} FuzzInput;

typedef struct FuzzTarget
{
	const char *name;
	void		(*prepare) (void);	/* once, in a transaction; may be NULL */
	bool		(*run) (FuzzInput *in); /* false: not worth keeping in the corpus */
	void		(*seeds) (void);	/* calls fuzz_seed() for each; may be NULL */
	bool		own_transactions;	/* run() starts and ends transactions itself; tables are vacuumed now and then */
	bool		internal_errors;	/* an internal error is an answer, too */
} FuzzTarget;

extern const FuzzTarget fuzz_wire,
			fuzz_value,
			fuzz_link,
			fuzz_message,
			fuzz_state,
			fuzz_merge,
			fuzz_key,
			fuzz_context,
			fuzz_frontier,
			fuzz_token,
			fuzz_options,
			fuzz_pattern,
			fuzz_topology,
			fuzz_dsn,
			fuzz_import,
			fuzz_lists;

/* Parts of the input; zeros and empty texts when it is used up. */
extern uint8 fuzz_byte(FuzzInput *in);
extern uint64 fuzz_bytes(FuzzInput *in, int n);

/* The rest of the input, or its part before the first separator, with a zero behind it; a chunk of its own. */
extern char *fuzz_text(FuzzInput *in);
extern char *fuzz_line(FuzzInput *in, char separator);

/* The rest of the input in a chunk of just its size. */
extern char *fuzz_rest(FuzzInput *in, int *len);

/* Ends the process as a crash does. */
pg_noreturn extern void fuzz_failed(const char *file, int line, const char *what);

#define fuzz_check(condition) \
	do { \
		if (!(condition)) \
			fuzz_failed(__FILE__, __LINE__, #condition); \
	} while (0)

/* Writes an input of the given bytes. */
extern void fuzz_seed(const char *name, const void *data, int len);
extern void fuzz_seed_text(const char *name, const char *text);

/* A memory context each of whose chunks is a malloc() of its own, so that AddressSanitizer sees what goes beyond it. */
extern MemoryContext fuzz_context_create(MemoryContext parent, const char *name, Size min, Size init, Size max);

/* errfinish() of our sources: notes that the error is one of ours. */
extern void fuzz_errfinish(const char *filename, int lineno, const char *funcname);

/* Types of which any bytes of the right length are a value. Other values in internal form are trusted like the provider is. */
extern bool fuzz_any_bytes_are(Oid typid);

#endif							/* REPLICATION_PLUGIN_FUZZ_H */

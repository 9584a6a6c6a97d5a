/*
 * context.c
 *		A memory context each of whose chunks is a malloc() of its own.
 *
 * PostgreSQL's own contexts cut chunks out of large blocks, where nobody sees that one runs into the next. Here
 * AddressSanitizer does, also for chunks that the server's code makes in this context for us. Built without
 * instrumentation: it poisons what is in front of a chunk.
 *
 * The node's tag is that of an ordinary context: the server knows no other, and does everything by the methods.
 */
#include "postgres.h"

#include <sanitizer/asan_interface.h>

#include "lib/ilist.h"
#include "nodes/memnodes.h"
#include "utils/memutils.h"

#include "fuzz.h"

#define MOST	(16 * 1024 * 1024)

typedef struct FuzzContext
{
	MemoryContextData header;
	dlist_head	chunks;
} FuzzContext;

/* What precedes a chunk; the server finds the context right in front of the pointer. */
typedef struct Chunk
{
	dlist_node	node;
	Size		size;
	MemoryContext context;
} Chunk;

static Chunk *
chunk_of(void *pointer)
{
	return (Chunk *) ((char *) pointer - sizeof(Chunk));
}

static void *
context_alloc(MemoryContext context, Size size)
{
	Chunk	   *c;

	/* a server gives it; here it would cost as much as thousands of inputs */
	if (size > MOST || (c = malloc(sizeof(Chunk) + size)) == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("too much memory for a fuzzer")));
	c->size = size;
	c->context = context;
	dlist_push_head(&((FuzzContext *) context)->chunks, &c->node);
	context->mem_allocated += size;
	__asan_poison_memory_region(c, sizeof(Chunk));
	return c + 1;
}

static void
context_free(MemoryContext context, void *pointer)
{
	Chunk	   *c = chunk_of(pointer);

	dlist_delete(&c->node);
	context->mem_allocated -= c->size;
	__asan_unpoison_memory_region(c, sizeof(Chunk));
	free(c);
}

static void *
context_realloc(MemoryContext context, void *pointer, Size size)
{
	void	   *new = context_alloc(context, size);

	memcpy(new, pointer, Min(size, chunk_of(pointer)->size));
	context_free(context, pointer);
	return new;
}

static void
context_reset(MemoryContext context)
{
	FuzzContext *f = (FuzzContext *) context;

	while (!dlist_is_empty(&f->chunks))
		context_free(context, (char *) dlist_head_node(&f->chunks) + sizeof(Chunk));
}

static void
context_delete(MemoryContext context)
{
	context_reset(context);
	free(context);
}

static Size
context_space(MemoryContext context, void *pointer)
{
	return sizeof(Chunk) + chunk_of(pointer)->size;
}

static bool
context_is_empty(MemoryContext context)
{
	return dlist_is_empty(&((FuzzContext *) context)->chunks);
}

static void
context_stats(MemoryContext context, MemoryStatsPrintFunc print, void *passthru, MemoryContextCounters *totals,
			  bool print_to_stderr)
{
	if (totals)
		totals->totalspace += context->mem_allocated;
}

#ifdef MEMORY_CONTEXT_CHECKING
static void
context_check(MemoryContext context)
{
}
#endif

static const MemoryContextMethods methods = {
	context_alloc, context_free, context_realloc, context_reset, context_delete, context_space, context_is_empty, context_stats,
#ifdef MEMORY_CONTEXT_CHECKING
	context_check,
#endif
};

MemoryContext
fuzz_context_create(MemoryContext parent, const char *name, Size min, Size init, Size max)
{
	FuzzContext *f = malloc(sizeof(FuzzContext));

	dlist_init(&f->chunks);
	MemoryContextCreate(&f->header, T_AllocSetContext, &methods, parent, name);
	return &f->header;
}

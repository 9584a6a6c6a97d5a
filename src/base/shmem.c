/*
 * shmem.c
 *		Whether this server has our shared memory.
 *
 * A library that is loaded later (by session_preload_libraries, a function of ours, or as an output plugin) has none. Then
 * what only reads does without it, and all else is refused with what to do; nothing may crash.
 */
#include "postgres.h"

#include "base/shmem.h"

static bool attached = false;

void
shmem_attached(void)
{
	attached = true;
}

bool
shmem_exists(void)
{
	return attached;
}

void
shmem_require(void)
{
	if (!attached)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg(SHMEM_MISSING),
				 errhint(SHMEM_MISSING_HINT)));
}

/*
 * shmem.c
 *		The areas of shared memory, and whether this server has them.
 *
 * A library that is loaded later (by session_preload_libraries, a function of the extension, or as
 * an output plugin) has no shared memory. Then code that only reads does without it, and all other
 * actions raise an error with a hint. Nothing may crash.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"

#include "base/compat.h"
#include "base/shmem.h"

static struct
{
	const ShmemArea *const *areas;	/* set by shmem_install(), like the hooks of other extensions */
	shmem_request_hook_type previous_request;
	shmem_startup_hook_type previous_startup;
} shmem;

void	   *shmem_addresses[SHMEM_MOST_AREAS];

/* Hook in which shared memory is reserved. */
static void
shmem_request(void)
{
	if (shmem.previous_request)
		shmem.previous_request();
	Assert(MaxBackends > 0);
	for (const ShmemArea *const *a = shmem.areas; *a; a++)
		RequestAddinShmemSpace((*a)->size());
}

/*
 * Creates an area, or attaches to it. Returns its address. The lock of PostgreSQL's list of areas
 * is held.
 */
static void *
shmem_attach(const ShmemArea *area)
{
	bool		found;
	Size		size = area->size();
	void	   *address = ShmemInitStruct(area->name, size, &found);

	Assert(LWLockHeldByMeInMode(AddinShmemInitLock, LW_EXCLUSIVE));
	Assert(!area->tranche || size >= sizeof(LWLock));
	if (!found)
	{
		memset(address, 0, size);
		if (area->tranche)
			init_named_lock(address, area->tranche);
		area->init(address);
	}
	if (area->tranche)
		register_named_lock((LWLock *) address, area->tranche);
	return address;
}

/* Hook in which shared memory is created, or attached to. */
static void
shmem_startup(void)
{
	if (shmem.previous_startup)
		shmem.previous_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	for (int i = 0; shmem.areas[i]; i++)
	{
		Assert(i < SHMEM_MOST_AREAS);
		shmem_addresses[i] = shmem_attach(shmem.areas[i]);
	}
	LWLockRelease(AddinShmemInitLock);
}

void
shmem_install(const ShmemArea *const *areas)
{
	Assert(process_shared_preload_libraries_in_progress && !shmem.areas);
	shmem.areas = areas;
	shmem.previous_request = shmem_request_hook;
	shmem_request_hook = shmem_request;
	shmem.previous_startup = shmem_startup_hook;
	shmem_startup_hook = shmem_startup;
}

bool
shmem_exists(void)
{
	return shmem_addresses[0] != NULL;
}

void
shmem_require(void)
{
	if (!shmem_exists())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg(SHMEM_MISSING),
				 errhint(SHMEM_MISSING_HINT)));
}

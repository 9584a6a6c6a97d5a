/*
 * shmem.h
 *		The areas of shared memory, and whether this server has them, that is, whether the library
 *		is in shared_preload_libraries.
 */
#ifndef REPLICATION_PLUGIN_SHMEM_H
#define REPLICATION_PLUGIN_SHMEM_H

#define SHMEM_MISSING		"replication_plugin is not in shared_preload_libraries"
#define SHMEM_MISSING_HINT	"Add it (shared_preload_libraries = 'replication_plugin') and restart the server."

/* An area of shared memory, as its file describes it. */
typedef struct ShmemArea
{
	const char *name;			/* shown in pg_shmem_allocations */
	const char *tranche;		/* of the LWLock with which the area begins; NULL: it has none */

	/*
	 * Returns the size. Settings that need a restart, and MaxBackends, are known when it is called.
	 */
	Size		(*size) (void);

	/*
	 * Initializes the area, which is zero except for its lock. Runs once, in the process that makes
	 * the area, and must not use another area.
	 */
	void		(*init) (void *area);
} ShmemArea;

#define SHMEM_MOST_AREAS	16

/* The addresses of the areas, in the order of the list; NULL: this server has no areas. */
extern void *shmem_addresses[SHMEM_MOST_AREAS];

/*
 * Makes the server create the areas when it starts. Called from _PG_init() only. The list ends with
 * NULL.
 */
extern void shmem_install(const ShmemArea *const *areas);

/* Returns the address of an area, by its place in the list; NULL if this server has no areas. */
static inline void *
shmem_address(int place)
{
	Assert(place >= 0 && place < SHMEM_MOST_AREAS);
	return shmem_addresses[place];
}

/* Returns true if this server has all areas. */
extern bool shmem_exists(void);

/* Raises an error, with a hint, unless this server has shared memory. */
extern void shmem_require(void);

#endif							/* REPLICATION_PLUGIN_SHMEM_H */

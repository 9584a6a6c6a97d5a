/*
 * shmem.h
 *		Our areas of shared memory, and whether this server has them: the library is in
 *		shared_preload_libraries.
 */
#ifndef REPLICATION_PLUGIN_SHMEM_H
#define REPLICATION_PLUGIN_SHMEM_H

#define SHMEM_MISSING		"replication_plugin is not in shared_preload_libraries"
#define SHMEM_MISSING_HINT	"Add it (shared_preload_libraries = 'replication_plugin') and restart the server."

/* An area of shared memory, as its file describes it. */
typedef struct ShmemArea
{
	const char *name;			/* PostgreSQL shows it in pg_shmem_allocations */
	const char *tranche;		/* of the LWLock with which the area begins; NULL: it has none */

	/* Its size. Settings that need a restart are known by then, and so is MaxBackends. */
	Size		(*size) (void);

	/*
	 * Takes the area's address. If fresh, gives it what it starts with: it is zero, and has its
	 * lock. Runs in each process that has shared memory, and must not use another area.
	 */
	void		(*attach) (void *area, bool fresh);
} ShmemArea;

/* Has the areas made when the server starts; from _PG_init only. The list ends with NULL. */
extern void shmem_install(const ShmemArea *const *areas);

/* True if this server has all of them. */
extern bool shmem_exists(void);

/* Raises an error without shared memory, with what to do. */
extern void shmem_require(void);

#endif							/* REPLICATION_PLUGIN_SHMEM_H */

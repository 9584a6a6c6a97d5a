/*
 * manager_status.h
 *		Which databases of this server may be in a group, and their managers.
 */
#ifndef REPLICATION_PLUGIN_MANAGER_STATUS_H
#define REPLICATION_PLUGIN_MANAGER_STATUS_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "storage/latch.h"
#include "base/moment.h"

/* Workers of which a database has one at most. A manager that was started again takes over those of the one before. */
typedef enum ManagedWorker
{
	MANAGED_GROUP,
	MANAGED_JOIN,
	MANAGED_PARK
} ManagedWorker;

#define MANAGED_WORKERS	3

typedef struct ManagerStatus
{
	bool		in_use;			/* a manager has to look at this database */
	bool		in_group;		/* it is in a group, or on its way into one */
	bool		requested;		/* somebody asked after the manager last began to look */
	int			suspended;		/* sessions that want all other workers of the database to rest */
	Oid			dboid;
	pid_t		pid;			/* 0: no manager */
	Latch	   *latch;			/* of the manager, valid while pid != 0 */
	pid_t		workers[MANAGED_WORKERS];	/* 0: none */
	int			failures;		/* starts since a manager last got through its work */
	Moment		next_start_at;
} ManagerStatus;

extern Size manager_status_shmem_size(void);
extern void manager_status_shmem_init(void);

/* A random number of this run of the server: tells a copy from the server. */
extern uint64 instance_token(void);

/* End of the WAL when this run of the server began: set by the launcher, once; InvalidXLogRecPtr before. */
extern void manager_status_set_run_start(XLogRecPtr lsn);
extern XLogRecPtr manager_status_run_start(void);

/* The launcher: its latch (NULL: gone), and a manager that it is about to start; false when the table is full. */
extern void manager_status_set_launcher(Latch *latch);
extern bool manager_status_set_starting(Oid dboid);

/*
 * Sessions: reserve makes the entry, or raises an error when there are too many; request,
 * at commit time, then never fails: it starts or wakes the manager, and notes whether
 * the database is in a group now.
 */
extern void manager_status_reserve(Oid dboid);
extern void manager_status_request(Oid dboid, bool in_group);
extern void manager_status_wake(Oid dboid);

/* Has the manager end all other workers, and start none, until it is taken back (also when the session dies). */
extern void manager_status_suspend(Oid dboid);
extern void manager_status_resume(Oid dboid);

/*
 * The manager: attach returns false if another one is there; look is called before the
 * tables are read; found and forget note what they said, and return false, noting nothing, if
 * somebody has asked since then: what he has told is newer, look again.
 */
extern bool manager_status_attach(Oid dboid);
extern void manager_status_look(Oid dboid);
extern bool manager_status_found(Oid dboid);
extern void manager_status_healthy(Oid dboid);
extern bool manager_status_forget(Oid dboid);

/* The other workers: attach returns false if another one of the kind is there, and this one has to go; the process of a kind, 0 if none. */
extern bool manager_status_attach_worker(Oid dboid, ManagedWorker kind);
extern pid_t manager_status_worker(Oid dboid, ManagedWorker kind);

extern int	manager_status_count(void);
extern bool manager_status_get(int index, ManagerStatus *copy);
extern bool manager_status_find(Oid dboid, ManagerStatus *copy);

#endif							/* REPLICATION_PLUGIN_MANAGER_STATUS_H */

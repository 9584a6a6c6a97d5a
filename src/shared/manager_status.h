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
#include "base/shmem.h"

/*
 * Workers of which a database has one at most. A manager that was started again takes over those of
 * the one before.
 */
typedef enum ManagedWorker
{
	MANAGED_GROUP,
	MANAGED_JOIN,
	MANAGED_PARK
} ManagedWorker;

#define MANAGED_WORKERS	3

/* What is wrong with this server's clock, and what to do; "" if nothing is. */
typedef struct ClockProblem
{
	char		problem[256];
	char		fix[400];
} ClockProblem;

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
	Moment		attached_at;	/* when the first manager in this run of the server came */
	/* this server's clock has been compared with the others', or cannot be */
	bool		clock_judged;
	ClockProblem clock_problem;	/* why local writes are refused for its sake */
} ManagerStatus;

extern const ShmemArea manager_status_area;

/* A random number of this run of the server: tells a copy from the server. */
extern uint64 instance_token(void);

/*
 * End of the WAL when this run of the server began: set by the launcher, once; InvalidXLogRecPtr
 * before.
 */
extern void manager_status_set_run_start(XLogRecPtr lsn);
extern XLogRecPtr manager_status_run_start(void);

/*
 * The launcher: its latch (NULL: gone), and a manager that it is about to start; false when the
 * table is full.
 */
extern void manager_status_set_launcher(Latch *latch);

/* True while there is one. May be called from a signal handler. */
extern bool manager_status_has_launcher(void);
extern bool manager_status_set_starting(Oid dboid);

/*
 * Sessions: reserve makes the entry, or raises an error when there are too many; request,
 * at commit time, then never fails: it starts or wakes the manager, and notes whether
 * the database is in a group now.
 */
extern void manager_status_reserve(Oid dboid);
extern void manager_status_request(Oid dboid, bool in_group);
extern void manager_status_wake(Oid dboid);

/*
 * Has the manager end all other workers, and start none, until it is taken back (also when the
 * session dies).
 */
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

/*
 * The other workers: attach returns false if another one of the kind is there, and this one has to
 * go; the process of a kind, 0 if none.
 */
extern bool manager_status_attach_worker(Oid dboid, ManagedWorker kind);
extern pid_t manager_status_worker(Oid dboid, ManagedWorker kind);

/*
 * What the manager found out about this server's clock (control/group/clock_guard.c); NULL for
 * none. set returns true if there is one now and was none, or the other way round. any is cheap:
 * true while a database of this server has one.
 */
extern bool manager_status_set_clock(Oid dboid, bool judged, const ClockProblem *problem);
extern bool manager_status_clock_problem(Oid dboid, bool *judged, ClockProblem *problem);
extern bool manager_status_any_clock_problem(void);
extern Moment manager_status_attached_at(Oid dboid);

/* Databases of this server that are in groups. */
extern int	manager_status_groups(void);

extern int	manager_status_count(void);
extern bool manager_status_get(int index, ManagerStatus *copy);
extern bool manager_status_find(Oid dboid, ManagerStatus *copy);

#endif							/* REPLICATION_PLUGIN_MANAGER_STATUS_H */

/*
 * manager_status.h
 *		The databases of this server that may be in a group, and their managers.
 */
#ifndef REPLICATION_PLUGIN_MANAGER_STATUS_H
#define REPLICATION_PLUGIN_MANAGER_STATUS_H

#include "access/xlogdefs.h"
#include "datatype/timestamp.h"
#include "storage/latch.h"

#include "base/moment.h"
#include "base/shmem.h"

/*
 * Workers of which a database has at most one. A manager that was started again takes over those of
 * the manager before it.
 */
typedef enum ManagedWorker
{
	MANAGED_GROUP,
	MANAGED_JOIN,
	MANAGED_PARK
} ManagedWorker;

#define MANAGED_WORKERS	3

/* What is wrong with this server's clock, and what to do about it; empty strings if nothing is. */
typedef struct ClockProblem
{
	char		problem[256];
	char		fix[400];
} ClockProblem;

typedef struct ManagerStatus
{
	bool		in_use;			/* entry of a database that a manager has to examine */
	bool		in_group;		/* in a group, or on its way into one */
	bool		requested;		/* a session made a request since the manager last began to read */
	int			suspended;		/* sessions that want the other workers of the database ended */
	Oid			dboid;
	pid_t		pid;			/* 0: no manager */
	Latch	   *latch;			/* of the manager, valid while pid != 0 */
	pid_t		workers[MANAGED_WORKERS];	/* 0: none */
	int			failures;		/* starts since a manager last got through its work */
	Moment		next_start_at;
	Moment		attached_at;	/* when the first manager since the server's start attached */
	/* this server's clock has been compared with the others', or cannot be */
	bool		clock_judged;
	ClockProblem clock_problem;	/* why local writes are refused because of the clock */
	bool		run_judged;		/* the server is known to run on, and not to be set back */
	bool		is_copy;		/* the node's dsn leads to another server or database */
} ManagerStatus;

/* Why a copy of a member takes no part in the group, and what to do about it. */
#define IS_A_COPY		"this server is a copy: the dsn of its node leads to another server"
#define IS_A_COPY_HINT	"Take the copy out with SELECT replication_plugin.forget_group(), then join it as a node of its own."

extern const ShmemArea manager_status_area;

/* Returns a random number of this run of the server. It tells a copy from the server. */
extern uint64 instance_token(void);

/*
 * End of the WAL when this run of the server began; InvalidXLogRecPtr before the launcher has set
 * it. It is set once.
 */
extern void manager_status_set_run_start(XLogRecPtr lsn);
extern XLogRecPtr manager_status_run_start(void);

/*
 * Functions of the launcher. manager_status_set_launcher() stores its latch; NULL when it exits.
 * manager_status_set_starting() notes that a manager is about to be started, and returns false if
 * the table is full.
 */
extern void manager_status_set_launcher(Latch *latch);

/* Returns true while there is a launcher. May be called from a signal handler. */
extern bool manager_status_has_launcher(void);
extern bool manager_status_set_starting(Oid dboid);

/*
 * Functions of sessions. manager_status_reserve() makes the entry of a database, and raises an
 * error if the table is full. So manager_status_request(), at commit, cannot fail: it starts or
 * wakes the manager, and notes whether the database is in a group now.
 */
extern void manager_status_reserve(Oid dboid);
extern void manager_status_request(Oid dboid, bool in_group);
extern void manager_status_wake(Oid dboid);

/*
 * manager_status_suspend() makes the manager end all other workers and start none, until the
 * session calls manager_status_resume() or ends.
 */
extern void manager_status_suspend(Oid dboid);
extern void manager_status_resume(Oid dboid);

/*
 * Functions of the manager. manager_status_attach() returns false if another manager is attached.
 * manager_status_look() is called before the tables are read. manager_status_found() and
 * manager_status_forget() then note that the database is in a group, or is not. They note nothing
 * and return false if a session has made a request since: the manager then has to read again.
 */
extern bool manager_status_attach(Oid dboid);
extern void manager_status_look(Oid dboid);
extern bool manager_status_found(Oid dboid);
extern void manager_status_healthy(Oid dboid);
extern bool manager_status_forget(Oid dboid);

/*
 * Functions of the other workers. manager_status_attach_worker() returns false if another worker of
 * the kind is attached, so that this one has to exit. manager_status_worker() returns the process
 * of a kind; 0 if there is none.
 */
extern bool manager_status_attach_worker(Oid dboid, ManagedWorker kind);
extern pid_t manager_status_worker(Oid dboid, ManagedWorker kind);

/*
 * The problem that the manager found with this server's clock (control/group/clock_guard.c); NULL
 * for none. manager_status_set_clock() returns true if there is a problem now and was none, or the
 * reverse. manager_status_clock_problem() returns true if there is one.
 * manager_status_any_clock_problem() is cheap: it returns true while any database of this server
 * has one.
 */
extern bool manager_status_set_clock(Oid dboid, bool judged, const ClockProblem *problem);
extern bool manager_status_clock_problem(Oid dboid, bool *judged, ClockProblem *problem);
extern bool manager_status_any_clock_problem(void);
extern Moment manager_status_attached_at(Oid dboid);

/* When the launcher had looked at all databases after the start; 0: not yet. It is set once. */
extern void manager_status_set_looked_at(void);
extern Moment manager_status_looked_at(void);

/*
 * manager_status_set_run_judged() notes that local writes need not wait any more for the other
 * members' judgement of this run of the server (control/links/run_guard.h).
 */
extern void manager_status_set_run_judged(Oid dboid);
extern bool manager_status_run_judged(Oid dboid);

/*
 * manager_status_set_copy() notes whether this database is a copy of the node that its catalog
 * names. manager_status_is_copy() tells it to sessions, and is cheap while no database of this
 * server is a copy.
 */
extern void manager_status_set_copy(Oid dboid, bool is_copy);
extern bool manager_status_is_copy(Oid dboid);

/* Returns the number of databases of this server that are in groups. */
extern int	manager_status_groups(void);

extern int	manager_status_count(void);
extern bool manager_status_get(int index, ManagerStatus *copy);
extern bool manager_status_find(Oid dboid, ManagerStatus *copy);

#endif							/* REPLICATION_PLUGIN_MANAGER_STATUS_H */

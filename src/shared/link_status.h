/*
 * link_status.h
 *		What link workers are doing, in shared memory: the source of the view links, and
 *		how the manager and its link workers know of each other.
 */
#ifndef REPLICATION_PLUGIN_LINK_STATUS_H
#define REPLICATION_PLUGIN_LINK_STATUS_H

#include "access/xlogdefs.h"
#include "storage/latch.h"
#include "storage/proc.h"

#include "base/moment.h"
#include "base/shmem.h"
#include "model/version.h"

/* States of a link; who may follow is in link_status.c. */
typedef enum LinkState
{
	LINK_STOPPED,				/* no worker */
	LINK_STARTING,				/* worker registered, not connected */
	LINK_CONNECTING,			/* connecting and handshake */
	LINK_WAITING_FOR_SLOT,		/* the provider has not made our slot yet */
	LINK_CATCHING_UP,			/* streaming, behind the provider */
	LINK_STREAMING,				/* streaming, up to date */
	LINK_BLOCKED,				/* holds a transaction back until a stub is covered */
	LINK_RETRYING,				/* replays a transaction after a deadlock or the like */
	LINK_BACKOFF,				/* failed; waits before the next try */
	LINK_PAUSED					/* by pause_link() */
} LinkState;

#define LINK_ERROR_SIZE		2048
#define LINK_ORIGINS_SIZE	1024

typedef struct LinkStatus
{
	/* set by the manager, protected by the lock of link_status.c */
	bool		in_use;
	Oid			dboid;
	NodeId		provider;

	/* set by the worker, or by the manager while there is no worker; read by views: same lock */
	LinkState	state;
	pid_t		pid;			/* 0: no worker */
	Latch	   *latch;			/* of the worker, valid while pid != 0 */
	XLogRecPtr	received_lsn;	/* provider's WAL position received */
	XLogRecPtr	applied_lsn;	/* ... applied (passed) */
	XLogRecPtr	confirmed_lsn;	/* ... confirmed as durable here */
	XLogRecPtr	provider_lsn;	/* provider's end of WAL as last heard */
	TimestampTz last_commit_ts; /* of the last transaction applied */
	TimestampTz caught_up_at;	/* when we were last up to date */
	/* us that the provider's wall clock is ahead of our monotonic clock */
	int64		clock_base;
	int64		clock_error;	/* ... at most so wrong; 0: not known */
	Moment		clock_at;		/* when that was measured */
	uint64		transactions;
	uint64		rows;
	uint64		restarts;
	NodeId		blocked_on;		/* LINK_BLOCKED: origin waited for */
	XLogRecPtr	blocked_lsn;
	TimestampTz blocked_since;
	TimestampTz last_error_at;	/* 0: none */
	Moment		started_at;		/* when the worker was last registered; 0: never */
	Moment		next_start_at;	/* LINK_BACKOFF */
	int			failures;		/* in a row, for the back-off */
	Moment		down_since;		/* not connected to its provider since; 0: connected */
	bool		apply_failed;	/* the last error was one of applying, not of the connection */
	bool		restart;		/* the manager wants the stream to begin anew */
	bool		reroute;		/* stands in for another link that is down */
	/* asked for more origins than the topology wants, since they did not come; 0: no */
	Moment		demanded_at;
	int			demands;		/* how often it had to, since other origins were wanted last */
	NodeId		trouble_origin; /* the transaction that has failed last ... */
	XLogRecPtr	trouble_lsn;
	Moment		trouble_since;	/* ... since then */
	/* the worker was ended in code of this table; empty: no */
	char		ended_nspname[NAMEDATALEN];
	char		ended_relname[NAMEDATALEN];
	/* besides the provider's own, by the topology */
	char		wanted_origins[LINK_ORIGINS_SIZE];
	char		full_origins[LINK_ORIGINS_SIZE];	/* ... and asked for */
	char		last_error[LINK_ERROR_SIZE];
} LinkStatus;

extern const ShmemArea link_status_area;

#define LINKS_IN_USE		"all %d places for links of this server are in use"
#define LINKS_IN_USE_HINT	"Raise replication_plugin.max_links and restart the server."

/*
 * Entry of (this database, provider): index, or -1. create: makes one; -1 then means that max_links
 * are in use.
 */
extern int	link_status_find(Oid dboid, NodeId provider, bool create);

/* Number of entries; copy of one (returns false when not in use). */
extern int	link_status_count(void);
extern bool link_status_get(int index, LinkStatus *copy);

/*
 * For the manager. Each does nothing and returns false when a worker has attached in
 * the meantime: look again.
 */
extern bool link_status_release(int index);
extern bool link_status_set_starting(int index, bool restart);
extern bool link_status_set_paused(int index);
extern bool link_status_set_failed(int index, const char *message);
extern void link_status_set_reroute(int index, bool reroute);

/*
 * Has a running worker restart its stream, between two transactions; one that is to be started
 * begins at once.
 */
extern void link_status_request_restart(int index);

/*
 * The worker's own entry: attach at start, detach by itself at process exit. False if
 * nobody waits for this worker any more, or another one is there: then it exits.
 */
extern bool link_status_attach(int index);
extern void link_status_set_state(int index, LinkState state);
extern void link_status_set_positions(int index, XLogRecPtr received, XLogRecPtr applied,
									  XLogRecPtr confirmed, XLogRecPtr provider);
extern void link_status_add_applied(int index, uint64 transactions, uint64 rows, TimestampTz commit_ts);
extern void link_status_set_clock(int index, int64 base, int64 error);
extern void link_status_set_blocked(int index, NodeId origin, XLogRecPtr lsn);
extern bool link_status_restart_requested(int index);
extern void link_status_set_origins(int index, const char *wanted, const char *full);

/*
 * Records an error, doubles the back-off and sets next_start_at; the text stays after it is over.
 */
extern void link_status_set_error(int index, const char *message, bool in_apply);
extern void link_status_set_healthy(int index);

/* A transaction has failed: since when does it? */
extern Moment link_status_trouble(int index, NodeId origin, XLogRecPtr lsn);

/*
 * The worker is ended in code of a table that did not let itself be cancelled; the next one asks
 * for that, once: false if it was not so.
 */
extern void link_status_set_ended_at(int index, const char *nspname, const char *relname);
extern bool link_status_take_ended_at(int index, char *nspname, char *relname);

/* Shows an error that is no failure: the worker goes on trying. */
extern void link_status_tell(int index, const char *message);
extern const char *link_state_name(LinkState state);

/*
 * An origin's transactions are applied up to a position: wakes the link workers of the database
 * that wait for that.
 */
extern void link_status_wake_blocked(Oid dboid, NodeId origin, XLogRecPtr lsn);

#endif							/* REPLICATION_PLUGIN_LINK_STATUS_H */

/*
 * link_status.h
 *		The state of link workers, in shared memory. It is the source of the view links, and the
 *		means by which the manager and its link workers know of each other.
 */
#ifndef REPLICATION_PLUGIN_LINK_STATUS_H
#define REPLICATION_PLUGIN_LINK_STATUS_H

#include "access/xlogdefs.h"
#include "storage/latch.h"
#include "storage/proc.h"

#include "base/moment.h"
#include "base/shmem.h"
#include "model/version.h"

/* States of a link. Their successors are in link_status.c. */
typedef enum LinkState
{
	LINK_STOPPED,				/* no worker */
	LINK_STARTING,				/* worker registered, not connected */
	LINK_CONNECTING,			/* connecting and handshake */
	LINK_WAITING_FOR_SLOT,		/* the provider has not made the slot yet */
	LINK_CATCHING_UP,			/* streaming, behind the provider */
	LINK_STREAMING,				/* streaming, up to date */
	LINK_BLOCKED,				/* holds a transaction back until a stub is covered */
	LINK_RETRYING,				/* replays a transaction, for example after a deadlock */
	LINK_BACKOFF,				/* failed; waits before the next try */
	LINK_PAUSED					/* by pause_link() */
} LinkState;

/* Whether the provider has accepted this run of the server, at the latest try to connect to it. */
typedef enum LinkContact
{
	CONTACT_OPEN,				/* not known: no try has ended yet, or it was refused */
	CONTACT_FAILED,				/* the provider cannot be reached, or has another version */
	CONTACT_MADE				/* accepted: a later try does not take that back */
} LinkContact;

#define LINK_ERROR_SIZE		2048
#define LINK_ORIGINS_SIZE	1024

typedef struct LinkStatus
{
	/* set by the manager, protected by the lock in link_status.c */
	bool		in_use;
	Oid			dboid;
	NodeId		provider;

	/* set by the worker, or by the manager while there is no worker; protected by the same lock */
	LinkState	state;
	LinkContact contact;
	pid_t		pid;			/* 0: no worker */
	Latch	   *latch;			/* of the worker, valid while pid != 0 */
	XLogRecPtr	received_lsn;	/* provider's WAL position received */
	XLogRecPtr	applied_lsn;	/* ... applied (passed) */
	XLogRecPtr	confirmed_lsn;	/* ... confirmed as durable here */
	XLogRecPtr	provider_lsn;	/* provider's end of WAL as last reported */
	TimestampTz last_commit_ts; /* of the last transaction applied */
	TimestampTz caught_up_at;	/* when the link was last up to date */
	/* microseconds by which the provider's wall clock is ahead of the local monotonic clock */
	int64		clock_base;
	int64		clock_error;	/* maximal error of clock_base; 0: not known */
	Moment		clock_at;		/* when clock_base was measured */
	uint64		transactions;
	uint64		rows;
	uint64		restarts;
	NodeId		blocked_on;		/* LINK_BLOCKED: origin waited for */
	XLogRecPtr	blocked_lsn;
	TimestampTz blocked_since;
	TimestampTz last_error_at;	/* 0: none */
	Moment		started_at;		/* when the worker was last registered; 0: never */
	Moment		next_start_at;	/* LINK_BACKOFF: time of the next try */
	int			failures;		/* in a row, for the back-off */
	Moment		down_since;		/* not connected to its provider since; 0: connected */
	int			protocol;		/* of the stream; 0: no stream yet */
	bool		apply_failed;	/* the last error came from applying, not from the connection */
	bool		restart;		/* the stream is to be restarted */
	bool		reroute;		/* stands in for another link that is down */
	/*
	 * when the link asked for more origins than the topology wants, as they did not arrive; 0: no
	 */
	Moment		demanded_at;
	int			demands;		/* number of such demands since the wanted origins last changed */
	NodeId		trouble_origin; /* the transaction that failed last */
	XLogRecPtr	trouble_lsn;
	Moment		trouble_since;	/* when it failed first */
	/* table in whose code the worker was ended; empty: none */
	char		ended_nspname[NAMEDATALEN];
	char		ended_relname[NAMEDATALEN];
	/* origins that the topology wants, besides the provider's own */
	char		wanted_origins[LINK_ORIGINS_SIZE];
	char		full_origins[LINK_ORIGINS_SIZE];	/* ... and that the link asked for */
	char		last_error[LINK_ERROR_SIZE];
} LinkStatus;

extern const ShmemArea link_status_area;

#define LINKS_IN_USE		"all %d places for links of this server are in use"
#define LINKS_IN_USE_HINT	"Raise replication_plugin.max_links and restart the server."

/*
 * Returns the index of the entry for (this database, provider), or -1. With create, makes the entry
 * if there is none; -1 then means that max_links entries are in use.
 */
extern int	link_status_find(Oid dboid, NodeId provider, bool create);

/*
 * Return the number of entries, and a copy of one. link_status_get() returns false if the entry is
 * not in use.
 */
extern int	link_status_count(void);
extern bool link_status_get(int index, LinkStatus *copy);

/*
 * Functions of the manager. Those that return bool return false, and do nothing, if a worker has
 * attached in the meantime; the manager then looks again.
 */
extern bool link_status_release(int index);
extern bool link_status_set_starting(int index, bool restart);
extern bool link_status_set_paused(int index);
extern bool link_status_set_failed(int index, const char *message);
extern void link_status_set_reroute(int index, bool reroute);

/*
 * Makes a running worker restart its stream between two transactions. A link that waits for its
 * next try is started at once.
 */
extern void link_status_request_restart(int index);

/*
 * Functions of the worker, for its own entry. link_status_attach() is called at start; the worker
 * detaches by itself at process exit. Returns false if the manager no longer expects this worker,
 * or another worker is attached: then the worker exits.
 */
extern bool link_status_attach(int index);
extern void link_status_set_state(int index, LinkState state);
extern void link_status_set_contact(int index, LinkContact contact);
extern void link_status_set_positions(int index, XLogRecPtr received, XLogRecPtr applied,
									  XLogRecPtr confirmed, XLogRecPtr provider);
extern void link_status_add_applied(int index, uint64 transactions, uint64 rows,
									TimestampTz commit_ts);
extern void link_status_set_clock(int index, int64 base, int64 error);
extern void link_status_set_blocked(int index, NodeId origin, XLogRecPtr lsn);
extern bool link_status_restart_requested(int index);
extern void link_status_set_stream(int index, const char *wanted, const char *full, int protocol);

/*
 * Records an error, doubles the back-off and sets next_start_at. The text stays after the error is
 * over.
 */
extern void link_status_set_error(int index, const char *message, bool in_apply);
extern void link_status_set_healthy(int index);

/* Notes that a transaction has failed. Returns since when this transaction has been failing. */
extern Moment link_status_trouble(int index, NodeId origin, XLogRecPtr lsn);

/*
 * link_status_set_ended_at() notes that the worker is ended in code of a table that could not be
 * cancelled. link_status_take_ended_at() gives the next worker that table, once, and returns false
 * if there is none.
 */
extern void link_status_set_ended_at(int index, const char *nspname, const char *relname);
extern bool link_status_take_ended_at(int index, char *nspname, char *relname);

/* Shows an error that is no failure: the worker goes on trying. */
extern void link_status_tell(int index, const char *message);
extern const char *link_state_name(LinkState state);

/*
 * Wakes the link workers of a database that wait for an origin's transactions up to a position,
 * which are applied now.
 */
extern void link_status_wake_blocked(Oid dboid, NodeId origin, XLogRecPtr lsn);

#endif							/* REPLICATION_PLUGIN_LINK_STATUS_H */

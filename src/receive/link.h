/*
 * link.h
 *		The state of a link from one provider, as its worker keeps it.
 */
#ifndef REPLICATION_PLUGIN_LINK_H
#define REPLICATION_PLUGIN_LINK_H

#include "libpq-fe.h"

#include "nodes/pg_list.h"

#include "apply/apply.h"
#include "base/moment.h"
#include "model/frontier.h"
#include "queue/replay.h"
#include "receive/feedback.h"
#include "receive/gate.h"
#include "wire/wire.h"

#define LINK_WAITED_OWNERS	32

/* An owner one of whose tables has begun to wait on this link. */
typedef struct WaitedOwner
{
	char		owner[NAMEDATALEN];
	Moment		at;
} WaitedOwner;

/* The offset of the provider's clock to the local clock (clock_probe.c). */
typedef struct ClockProbe
{
	Moment		asked_at;		/* 0: no answer is due */
	Moment		last_asked_at;
	int			probes;			/* in this stream */
	int64		best_error;		/* 0: no measurement */
	int64		best_base;
	Moment		best_at;
	bool		warned;			/* kept over all streams of this process */
} ClockProbe;

/* The state of the current stream. */
typedef struct StreamState
{
	char	   *slot;
	int			protocol;		/* that the provider has chosen */
	XLogRecPtr	received;		/* last position received */
	XLogRecPtr	provider_end;	/* provider's end of WAL as last heard */
	XLogRecPtr	sent;			/* last position confirmed to the provider */
	XLogRecPtr	noted;			/* last position stored (confirmed.c) */
	Moment		status_at;
	Moment		stored_at;
	Moment		heard_at;
	bool		ping_sent;
	bool		streaming;
	bool		deaf;			/* an answer could not be sent to the provider */
} StreamState;

/* What is done with the current transaction. */
typedef enum Course
{
	COURSE_NONE,				/* between transactions */
	COURSE_APPLY,
	COURSE_SCOUT,				/* only read, to find its tables */
	COURSE_COVERED,				/* the frontier covers it */
	COURSE_SKIP					/* by skip_transaction() */
} Course;

/*
 * The current transaction (transaction.c): its messages, what is done with it, and how often that
 * has failed.
 */
typedef struct LinkTransaction
{
	Course		course;
	WireBegin	begin;
	/* since the begin, or the one message that is processed between transactions */
	Replay		messages;
	XLogRecPtr	careful_lsn;	/* transaction to apply carefully */
	XLogRecPtr	unhurried_lsn;	/* transaction with slow rows of a table that cannot wait */
	int			careful_tries;
	int			retries;		/* of one transaction, in a row */
	Moment		retrying_since; /* since when that transaction is retried; 0: not */
	int			told_sqlstate;	/* SQLSTATE last reported in the log for the retry */
	WireTuple	unused[2];		/* rows that are only read past */
} LinkTransaction;

typedef struct Link
{
	int			index;			/* of the LinkStatus */
	NodeId		me;
	NodeId		provider;
	char	   *group_id;
	char	   *provider_name;
	char	   *provider_dsn;
	bool		joining;		/* this node is not ready: its source decides all conflicts */
	bool		adopted;		/* joining, as a physical copy of the source */
	int			agreed;			/* the group's protocol, as this node knows it */
	char	   *run;			/* this server's run as SQL (see local_run()) */
	char	   *full_origins;	/* 'own', 'all' or node numbers */
	List	   *demanded;		/* origins that this worker has demanded in addition (of int) */
	List	   *skip;			/* transactions to skip: origin LSNs (XLogRecPtr *) */
	Frontier   *seen;			/* what the provider had applied at this point of the stream */
	/* the seen vector of an earlier stream, valid from seen_lsn on; NULL: merged */
	Frontier   *seen_stored;
	XLogRecPtr	seen_lsn;
	bool		seen_changed;
	bool		held_back;		/* the provider holds stubs back: keepalives prove nothing */
	/* origin whose hold another link has, and for which this link waits, or INVALID_NODE_ID */
	NodeId		awaits_hold;
	XLogRecPtr	awaits_lsn;
	bool		shows_hold;		/* the link's status shows that wait */
	/* frontier of the provider's group slot when this link's slot was copied from it, or NULL */
	Frontier   *base;
	/* transaction some of whose tables failed, and now wait or are passed over */
	XLogRecPtr	failing_lsn;
	int			failed;			/* number of such tables since the last scouting */
	/* owner of the last such table; empty: it does not exist on this node */
	char		failing_owner[NAMEDATALEN];
	XLogRecPtr	futile_lsn;		/* transaction that failed at a table that waits already */
	WaitedOwner waited[LINK_WAITED_OWNERS];	/* owners whose tables began to wait recently */
	/* the transaction is read for its other tables (apply/scout.h) before it is tried again */
	bool		scouting;
	int			confirmed_file; /* of confirmed.c; 0: not open */
	PGconn	   *conn;
	/* an error raised now is the provider's answer to the handshake */
	bool		provider_answers;
	ApplyContext *apply;		/* applies the changes */
	StreamState stream;
	Feedback	feedback;
	ClockProbe	clock;
	LinkTransaction transaction;
	Gate		gate;
	List	   *asked;			/* open sessions to members: asked.h */
} Link;

/* Why streaming has ended without an error. */
typedef enum LinkEnd
{
	LINK_END_RESTART,			/* connect again at once */
	LINK_END_NO_SLOT			/* the provider has not made the slot yet */
} LinkEnd;

/*
 * link_config.c: loads nodes and settings from the catalog. Runs in a transaction of its own.
 * Raises an error if this database is in no group, or if the provider is removed or unknown.
 */
extern void link_load(Link *link);

/* Stores the seen vector for a position, if it has changed. Runs in a transaction of its own. */
extern void link_store_seen(Link *link, XLogRecPtr position);

/*
 * link_skip_done() removes a transaction from those to skip, after it was skipped. It runs in a
 * transaction of its own. link_skips() returns true if a transaction is to be skipped.
 */
extern void link_skip_done(Link *link, XLogRecPtr lsn);
extern bool link_skips(Link *link, XLogRecPtr lsn);

/*
 * Raises an error if the provider has been set back to an earlier state (a joining node does not
 * check), and stores its run. run: incarnation, token, start and first frontier row, as the
 * provider tells them. Runs in a transaction of its own.
 */
extern void link_check_run(Link *link, const char *const *run);

/*
 * Records that this node is out of its group, or must rejoin, as the provider's error says. Runs in
 * a transaction of its own.
 */
extern void link_note_expulsion(int sqlstate, const char *message);

/* Returns true if a node has been removed from the group. Runs in a transaction of its own. */
extern bool link_node_removed(NodeId node);

/* stream.c: connects and streams until the stream must be restarted. Raises errors. */
extern LinkEnd link_stream(Link *link);

/* Stores the last confirmed position at the end of the process. */
extern void link_note_end(Link *link);

/* Forgets demanded origins, so that the next stream asks only for the configured ones. */
extern void link_forget_demands(Link *link);

/*
 * transaction.c: processes one message of the stream. Returns false if the stream must be
 * restarted.
 */
extern bool link_message(Link *link, const char *data, int len);

/* Returns true inside a transaction of the stream. */
extern bool link_in_transaction(const Link *link);

/* Forgets a transaction that is under way, for a new stream. */
extern void link_transaction_reset(Link *link);

/* Waits until this node has applied the base of its slot. The stream takes the base for granted. */
extern void link_wait_for_base(Link *link);

#endif							/* REPLICATION_PLUGIN_LINK_H */

/*
 * link.h
 *		A link from one provider, as its worker sees it.
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
#include "wire/wire.h"

#define LINK_WAITED_OWNERS	32

/* An owner of whose tables one has begun to wait for this link. */
typedef struct WaitedOwner
{
	char		owner[NAMEDATALEN];
	Moment		at;
} WaitedOwner;

/* How far the provider's clock is from ours (clock_probe.c). */
typedef struct ClockProbe
{
	Moment		asked_at;		/* 0: no answer is due */
	Moment		last_asked_at;
	int			probes;			/* of this stream */
	int64		best_error;		/* 0: no measurement */
	int64		best_base;
	Moment		best_at;
	bool		warned;			/* over all streams of this process */
} ClockProbe;

/* Where a stream is. */
typedef struct StreamState
{
	char	   *slot;
	XLogRecPtr	received;		/* last position received */
	XLogRecPtr	provider_end;	/* provider's end of WAL as last heard */
	XLogRecPtr	sent;			/* last position confirmed to the provider */
	XLogRecPtr	noted;			/* ... that is stored */
	Moment		status_at;
	Moment		stored_at;
	Moment		heard_at;
	bool		ping_sent;
	bool		streaming;
	bool		deaf;			/* the provider could not be reached by an answer */
} StreamState;

/* What is done with the transaction at hand. */
typedef enum Course
{
	COURSE_NONE,				/* between transactions */
	COURSE_APPLY,
	COURSE_SCOUT,				/* only read: which tables it is of */
	COURSE_COVERED,				/* the frontier has it already */
	COURSE_SKIP					/* skip_transaction() */
} Course;

/*
 * The transaction at hand (transaction.c): its messages, what is done with it, and how often that
 * has failed.
 */
typedef struct LinkTransaction
{
	Course		course;
	WireBegin	begin;
	/* since its begin, or of the message between transactions that is worked on */
	Replay		messages;
	XLogRecPtr	careful_lsn;	/* transaction to apply carefully */
	XLogRecPtr	unhurried_lsn;	/* transaction with slow rows of a table that cannot wait */
	int			careful_tries;
	int			retries;		/* in a row, of one transaction */
	Moment		retrying_since; /* that transaction; 0: not retried */
	int			told_sqlstate;	/* the log has been told that it is retried for this */
	WireTuple	unused[2];		/* rows that are only read over */
} LinkTransaction;

typedef struct Link
{
	int			index;			/* of its LinkStatus */
	NodeId		me;
	NodeId		provider;
	char	   *group_id;
	char	   *provider_name;
	char	   *provider_dsn;
	bool		joining;		/* this node is not ready: its source decides all conflicts */
	bool		adopted;		/* joining: it is a physical copy of its source */
	char	   *run;			/* of this server: incarnation, token, start, as SQL */
	char	   *full_origins;	/* 'own', 'all' or node numbers */
	List	   *demanded;		/* origins that this worker has asked for besides (of int) */
	List	   *skip;			/* transactions to skip: origin LSNs (XLogRecPtr *) */
	Frontier   *seen;			/* what the provider had seen at this point of the stream */
	/* the same as stored earlier, good from seen_lsn on; NULL: merged */
	Frontier   *seen_stored;
	XLogRecPtr	seen_lsn;
	bool		seen_changed;
	bool		held_back;		/* the provider holds stubs back: its keepalives say nothing */
	/* waits until another link has applied a transaction of that origin, or INVALID_NODE_ID */
	NodeId		awaits_hold;
	XLogRecPtr	awaits_lsn;
	bool		shows_hold;		/* ... and that is shown */
	/* what the provider's group slot stood for when our slot was copied from it, or NULL */
	Frontier   *base;
	/* transaction of which tables could not be applied, and wait or are passed over now: ... */
	XLogRecPtr	failing_lsn;
	int			failed;			/* ... so many since they were last looked for, ... */
	/* ... the last one of this owner; empty: it does not exist here */
	char		failing_owner[NAMEDATALEN];
	XLogRecPtr	futile_lsn;		/* transaction that failed at a table that waits already */
	WaitedOwner waited[LINK_WAITED_OWNERS];	/* whose tables have begun to wait lately */
	/*
	 * the transaction is to be read for the rest of them (apply/scout.h), before it is tried again
	 */
	bool		scouting;
	int			confirmed_file; /* of confirmed.c; 0: not open */
	PGconn	   *conn;
	/* an error that is raised now is the provider's answer to who we are */
	bool		provider_answers;
	ApplyContext *apply;		/* who applies what comes */
	StreamState stream;
	Feedback	feedback;
	ClockProbe	clock;
	LinkTransaction transaction;
} Link;

/* Why streaming has come to an end without an error. */
typedef enum LinkEnd
{
	LINK_END_RESTART,			/* connect again at once */
	LINK_END_NO_SLOT			/* the provider has not made the slot yet */
} LinkEnd;

/* link_config.c: reads nodes and settings from the catalog (own transaction). */
extern void link_load(Link *link);

/* Stores what the provider had seen at a position (own transaction). */
extern void link_store_seen(Link *link, XLogRecPtr position);

/* Forgets a transaction to skip, after it was skipped (own transaction). */
extern void link_skip_done(Link *link, XLogRecPtr lsn);
extern bool link_skips(Link *link, XLogRecPtr lsn);

/*
 * Raises an error if the provider has been set back to an earlier state, and remembers its run (own
 * transaction). Arguments are what it says of its run: incarnation, token, start, first frontier
 * row.
 */
extern void link_check_run(Link *link, const char *const *run);

/*
 * Notes that this node is out of its group, as a provider says with this error (own transaction).
 */
extern void link_note_expulsion(int sqlstate, const char *message);

/* True if a node has been removed from the group (own transaction). */
extern bool link_node_removed(NodeId node);

/* stream.c: connects and streams until something ends it. */
extern LinkEnd link_stream(Link *link);

/* The process ends: stores what it has confirmed. */
extern void link_note_end(Link *link);

/* The next stream asks for no more than is wanted. */
extern void link_forget_demands(Link *link);

/* transaction.c: one message of the stream; returns false to restart the stream. */
extern bool link_message(Link *link, const char *data, int len);

/* True inside a transaction of the stream. */
extern bool link_in_transaction(const Link *link);

/* Forgets a transaction that is under way: the stream begins anew. */
extern void link_transaction_reset(Link *link);

/* Waits until this node has what a slot's base stands for: its stream takes that for granted. */
extern void link_wait_for_base(Link *link);

#endif							/* REPLICATION_PLUGIN_LINK_H */

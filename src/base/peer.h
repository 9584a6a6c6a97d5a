/*
 * peer.h
 *		libpq connections from a backend or worker of this server to another
 *		node (or to this one), with every wait interruptible.
 *
 * Each session between nodes pins client_encoding (to this database's) and the
 * settings of base/session.h, so that text values mean the same on both sides.
 */
#ifndef REPLICATION_PLUGIN_PEER_H
#define REPLICATION_PLUGIN_PEER_H

#include "libpq-fe.h"

typedef enum PeerMode
{
	PEER_SQL,					/* ordinary session */
	PEER_REPLICATION			/* walsender session, replication=database */
} PeerMode;

/*
 * Connects to where a dsn (base/dsn.h) leads; ereports
 * ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION with the dsn (password left out) and libpq's
 * message on failure. Gives up after the dsn's connect_timeout, else after 10 s. The caller owns
 * the connection and ends it with PQfinish. One that was made inside a (sub)transaction is closed
 * by itself when that aborts, and so are its results; all are closed when the process exits.
 */
extern PGconn *peer_connect(const char *dsn, PeerMode mode, const char *application_name);

/*
 * Has a connection outlast the (sub)transaction that it was made in, also if that aborts.
 * Process-wide ones need it.
 */
extern void peer_keep(PGconn *conn);

/*
 * Runs one statement and waits, serving interrupts. Returns a result with
 * status PGRES_TUPLES_OK, PGRES_COMMAND_OK, PGRES_COPY_OUT, PGRES_COPY_IN or
 * PGRES_COPY_BOTH; any other status is re-raised here as an ERROR that keeps
 * the remote SQLSTATE, message, detail and hint. PQclear is the caller's.
 */
extern PGresult *peer_exec(PGconn *conn, const char *sql);

/*
 * Waits for the result of what was sent by a PQsend function, as peer_exec does. sql is for
 * messages.
 */
extern PGresult *peer_result(PGconn *conn, const char *sql);

/* The same as peer_exec, with text parameters $1..$n (NULL entries are SQL NULL). PEER_SQL only. */
extern PGresult *peer_exec_params(PGconn *conn, const char *sql, int nparams,
								  const char *const *values);

/* The same; an error if the answer takes longer than so many milliseconds. */
extern PGresult *peer_exec_within(PGconn *conn, const char *sql, int nparams, const char *const *values, int ms);

/*
 * A peer has not answered a statement for some seconds: what is called then, once for each
 * statement. Without one, a background worker writes into the log. It may not raise errors. The
 * text is for people; memory is the caller's.
 */
extern void peer_tell_silence(void (*tell) (void *arg, const char *text), void *arg);

/* Waits until the socket is readable, the latch is set or ms have passed; serves interrupts. */
extern int	peer_wait(PGconn *conn, int wake_events, long ms);

#endif							/* REPLICATION_PLUGIN_PEER_H */

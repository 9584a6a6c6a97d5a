/*
 * peer.h
 *		libpq connections from a backend or worker of this server to another node (or to this
 *		one), with interruptible waits.
 *
 * Each session between nodes pins client_encoding (to this database's) and the settings of
 * base/session.h, so that text values mean the same on both sides.
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
 * Connects to the database of a dsn (base/dsn.h). On failure raises
 * ERRCODE_SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION, with the dsn (without secrets) and libpq's
 * message. Gives up after the dsn's connect_timeout, by default 10 seconds. The caller owns the
 * connection and ends it with PQfinish(). A connection that was made inside a (sub)transaction is
 * closed if that aborts, and so are its results. All are closed when the process exits.
 */
extern PGconn *peer_connect(const char *dsn, PeerMode mode, const char *application_name);

/*
 * Makes a connection outlast the (sub)transaction in which it was made, even if that aborts. Needed
 * for connections that a process keeps.
 */
extern void peer_keep(PGconn *conn);

/*
 * Runs one statement and waits, serving interrupts. Returns a result with status PGRES_TUPLES_OK,
 * PGRES_COMMAND_OK, PGRES_COPY_OUT, PGRES_COPY_IN or PGRES_COPY_BOTH. Any other status is raised as
 * an ERROR with the remote SQLSTATE, message, detail and hint. The caller must call PQclear().
 */
extern PGresult *peer_exec(PGconn *conn, const char *sql);

/*
 * Waits for the result of a statement that was sent by a PQsend function, like peer_exec(). sql is
 * for messages.
 */
extern PGresult *peer_result(PGconn *conn, const char *sql);

/* Like peer_exec(), with text parameters $1..$n (NULL entries are SQL NULL). Only for PEER_SQL. */
extern PGresult *peer_exec_params(PGconn *conn, const char *sql, int nparams,
								  const char *const *values);

/* Like peer_exec_params(), but raises an error if the answer takes longer than ms milliseconds. */
extern PGresult *peer_exec_within(PGconn *conn, const char *sql, int nparams,
								  const char *const *values, int ms);

/*
 * Sets a function that is called, once for each statement, when a peer has not answered for some
 * seconds. Without one, a background worker writes to the log. The function must not raise errors.
 * The text is for people, and its memory belongs to the caller.
 */
extern void peer_tell_silence(void (*tell) (void *arg, const char *text), void *arg);

/*
 * Waits until one of the events occurs on the socket, the latch is set or ms milliseconds have
 * passed (-1: no limit). Serves interrupts. Returns the events as WaitLatchOrSocket() does.
 */
extern int	peer_wait(PGconn *conn, int wake_events, long ms);

/* Registers for the end of transactions. Called from _PG_init() only. */
extern void peer_install(void);

#endif							/* REPLICATION_PLUGIN_PEER_H */

/*
 * asked.h
 *		Sessions in which a link asks members about tables.
 */
#ifndef REPLICATION_PLUGIN_RECEIVE_ASKED_H
#define REPLICATION_PLUGIN_RECEIVE_ASKED_H

#include "libpq-fe.h"

#include "nodes/pg_list.h"

/*
 * asked_connect() returns a session to a dsn, perhaps one that is open already. It raises errors
 * like peer_connect(). The session belongs to asked.c. After an error in it, the caller passes its
 * dsn to asked_give_up(), which closes it. sessions: those of the link (Link.asked), NIL at first.
 */
extern PGconn *asked_connect(List **sessions, const char *dsn);
extern void asked_give_up(List **sessions, const char *dsn);

/* Closes a session that has not been used for a while, if there is one. */
extern void asked_rest(List **sessions);

#endif							/* REPLICATION_PLUGIN_RECEIVE_ASKED_H */

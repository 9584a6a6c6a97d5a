/*
 * asked.h
 *		Sessions in which a link asks members about tables.
 */
#ifndef REPLICATION_PLUGIN_RECEIVE_ASKED_H
#define REPLICATION_PLUGIN_RECEIVE_ASKED_H

#include "libpq-fe.h"

/*
 * A session where a dsn leads to, perhaps one that is open already. Raises errors like
 * peer_connect(). It is this file's; who got an error in it gives it up.
 */
extern PGconn *asked_connect(const char *dsn);
extern void asked_give_up(const char *dsn);

/* Closes those that have not been used for a while. */
extern void asked_rest(void);

#endif							/* REPLICATION_PLUGIN_RECEIVE_ASKED_H */

/*
 * link_error.h
 *		Texts for errors on a link: what happened, where, and how to solve it.
 */
#ifndef REPLICATION_PLUGIN_LINK_ERROR_H
#define REPLICATION_PLUGIN_LINK_ERROR_H

#include "base/compat.h"
#include "receive/link.h"
#include "wire/wire.h"

/*
 * Returns the text, palloc'd, for links.last_error about an error in applying. The failing row is
 * that of apply_failed_row(). Call it after an abort and apply_reset(), outside of a transaction.
 */
extern char *link_error_text(Link *link, const ErrorData *edata, const WireBegin *transaction);

/* Rewrites an error to say that a row's code has exceeded row_timeout. */
extern void link_error_explain_limit(ErrorData *edata);

/*
 * Raises the error with which a provider ended the stream. res may be NULL. Asks the provider, on
 * the same connection, for the transaction that it was about to send.
 */
pg_noreturn extern void link_error_of_provider(Link *link, PGresult *res);

#endif							/* REPLICATION_PLUGIN_LINK_ERROR_H */

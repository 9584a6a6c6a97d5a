/*
 * compat.h
 *		The differences between the supported PostgreSQL versions. No other file reads
 *		PG_VERSION_NUM.
 */
#ifndef REPLICATION_PLUGIN_COMPAT_H
#define REPLICATION_PLUGIN_COMPAT_H

#include "postgres.h"

#if PG_VERSION_NUM < 150000
#error "replication_plugin needs PostgreSQL 15 or newer"
#endif

/* PostgreSQL 15.0 has this function only under its first name. */
#if PG_VERSION_NUM < 150001
#define InitMaterializedSRF			SetSingleFuncCall
#define MAT_SRF_USE_EXPECTED_DESC	SRF_SINGLE_USE_EXPECTED
#define MAT_SRF_BLESS				SRF_SINGLE_BLESS
#endif

#endif							/* REPLICATION_PLUGIN_COMPAT_H */

// SPDX-License-Identifier: Apache-2.0
// The events after which the scheduler's views may have changed.
import { DEVICE_EVENTS, MODEL_EVENTS } from '@/lib/events';

export const PLACEMENT_EVENTS = [...MODEL_EVENTS, ...DEVICE_EVENTS, 'placement_rules_changed', 'device_memory_held', 'sample'] as const;

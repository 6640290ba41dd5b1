// SPDX-License-Identifier: Apache-2.0
// Words of the planner's pages, Chinese: asking (planner_ask) and answers (planner_result).
import type en from '../en/planner';
import type { Like } from '..';
import ask from './planner_ask';
import result from './planner_result';

export default { ...ask, ...result } satisfies Like<typeof en>;

// SPDX-License-Identifier: Apache-2.0
// Words of the planner's pages, English: asking (planner_ask) and answers (planner_result).
import ask from './planner_ask';
import result from './planner_result';

export default { ...ask, ...result };

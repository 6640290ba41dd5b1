// SPDX-License-Identifier: Apache-2.0
// The question that is being asked: kept while the page is away, so that a topology can be drawn for it meanwhile.
import { ref } from 'vue';
import { emptyQuestion } from './question';

export const question = ref(emptyQuestion());

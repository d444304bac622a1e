"""Results for people: one offline HTML page, and figures for papers.

A page is a list of sections (`sections.SECTIONS`). A further one (selection, cost, forecast) is a function that
returns its values, or None where there is nothing to say, and a template in `templates/sections/`.
"""
